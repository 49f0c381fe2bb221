#!/usr/bin/env python3
"""Holds mien-imager.json to the format of Raspberry Pi Imager's OS lists, and to the files beside it.

    deploy/image/check_imager.py target/image/mien-imager.json

The format is that of rpi-imager's doc/json-schema/os-list-schema.json and doc/schema-notes.md. A wrong hash
makes Imager refuse the image after it was written.
"""

import datetime
import hashlib
import json
import lzma
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

CHUNK = 1 << 20
# What must be there: by the format, and the last three in ours.
FIELDS = {
    "name": str,
    "description": str,
    "icon": str,
    "url": str,
    "extract_size": int,
    "extract_sha256": str,
    "image_download_size": int,
    "release_date": str,
    "devices": list,
    "image_download_sha256": str,
    "init_format": str,
    "architecture": str,
}
INIT_FORMATS = {"systemd", "cloudinit", "cloudinit-rpi", "none", ""}
ARCHITECTURES = {"armv6", "armv7", "armv8"}
# "pi4-64bit": a model, and how wide its system is.
DEVICE = re.compile(r"pi[0-9]-(32|64)bit")


def check(condition, why):
    if not condition:
        sys.exit(f"check_imager.py: {why}")


def size_and_sha256(file):
    size, digest = 0, hashlib.sha256()
    while chunk := file.read(CHUNK):
        size += len(chunk)
        digest.update(chunk)
    return size, digest.hexdigest()


def check_form(entry):
    """Fields, types and values, whatever the files are."""
    for key, kind in FIELDS.items():
        check(type(entry.get(key)) is kind, f"{key} is missing, or no {kind.__name__}")
    check(entry.keys() <= FIELDS.keys(), f"unknown: {entry.keys() - FIELDS.keys()}")
    check(entry["name"] and entry["description"], "it has no name or no description")
    check(entry["init_format"] in INIT_FORMATS, f"init_format {entry['init_format']!r}")
    check(entry["architecture"] in ARCHITECTURES, f"architecture {entry['architecture']!r}")
    devices = entry["devices"]
    check(devices and all(DEVICE.fullmatch(str(device)) for device in devices), f"devices {devices}")
    date = entry["release_date"]
    check(re.fullmatch(r"\d{4}-\d\d-\d\d", date), f"release_date {date!r} is not YYYY-MM-DD")
    try:
        datetime.date.fromisoformat(date)
    except ValueError as error:
        check(False, f"release_date {date!r}: {error}")
    for key in ("icon", "url"):
        check(urlparse(entry[key]).scheme in {"https", "http", "file"}, f"{key} {entry[key]!r} is no URL")


def check_files(entry, folder):
    """The files that it names, as they lie beside it."""
    image, icon = (folder / Path(unquote(urlparse(entry[key]).path)).name for key in ("url", "icon"))
    check(image.suffix == ".xz", f"{image.name}: older versions read no other compression")
    check(icon.is_file() and icon.suffix in {".svg", ".png"}, f"icon {icon} is missing, or no picture")
    with image.open("rb") as file:
        compressed = size_and_sha256(file)
    with lzma.open(image) as file:
        extracted = size_and_sha256(file)
    for head, (size, sha256) in {"image_download": compressed, "extract": extracted}.items():
        told = entry[f"{head}_size"], entry[f"{head}_sha256"]
        check(told == (size, sha256), f"{head}: told is {told}, {image} has {(size, sha256)}")
    # Imager refuses what has no whole sectors.
    check(extracted[0] % 512 == 0, f"{extracted[0]} bytes are no whole sectors")


def main():
    path = Path(sys.argv[1])
    listed = json.loads(path.read_text())
    # "imager" is for the program's own list.
    check(listed.keys() == {"os_list"} and type(listed["os_list"]) is list, "there is no os_list, or more")
    check(len(listed["os_list"]) == 1, "there is not one system")
    for entry in listed["os_list"]:
        check_form(entry)
        check_files(entry, path.parent)
        print(f"{entry['name']}: as Raspberry Pi Imager wants it")


main()
