//! Which video devices a Linux machine has, by what `/sys` says of them.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel lists its video devices.
const CLASS: &str = "sys/class/video4linux";
/// Where udev names them by what they are.
const BY_ID: &str = "dev/v4l/by-id";
/// What a source that names a USB device begins with.
pub const USB: &str = "usb:";

/// A video device: a camera has several, of which the first gives pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoDevice {
    /// Its node, `/dev/video<N>`.
    pub node: PathBuf,
    /// What it calls itself.
    pub name: String,
    /// Which of its camera's devices it is, from 0.
    pub index: u32,
    /// Vendor and product of its USB device, hexadecimal, as `lsusb` prints them.
    pub usb: Option<(String, String)>,
    /// Other names that stay when the camera is put into another socket.
    pub links: Vec<PathBuf>,
}

/// All, by number.
pub fn list() -> Vec<VideoDevice> {
    list_under(Path::new("/"))
}

fn list_under(root: &Path) -> Vec<VideoDevice> {
    let links = links(root);
    let entries = fs::read_dir(root.join(CLASS)).into_iter().flatten().flatten();
    let mut devices: Vec<(u32, VideoDevice)> = entries
        .filter_map(|entry| {
            let file_name = entry.file_name().into_string().ok()?;
            let number = file_name.strip_prefix("video")?.parse().ok()?;
            let node = Path::new("/dev").join(&file_name);
            let own = links.iter().filter(|(_, target)| *target == file_name);
            let device = VideoDevice {
                name: text(&entry.path().join("name")).unwrap_or_default(),
                index: text(&entry.path().join("index"))
                    .and_then(|index| index.parse().ok())
                    .unwrap_or(0),
                usb: usb_ids(&entry.path().join("device")),
                links: own.map(|(link, _)| link.clone()).collect(),
                node,
            };
            Some((number, device))
        })
        .collect();
    devices.sort_by_key(|(number, _)| *number);
    devices.into_iter().map(|(_, device)| device).collect()
}

/// udev's links, and the file name of the node that each points to.
fn links(root: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(root.join(BY_ID)).into_iter().flatten().flatten();
    let mut links: Vec<_> = entries
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            let target = target.file_name()?.to_str()?.to_owned();
            Some((Path::new("/").join(BY_ID).join(entry.file_name()), target))
        })
        .collect();
    links.sort();
    links
}

/// The ids of the USB device that has this interface.
fn usb_ids(interface: &Path) -> Option<(String, String)> {
    let device = fs::canonicalize(interface).ok()?;
    let device = device.parent()?;
    Some((text(&device.join("idVendor"))?, text(&device.join("idProduct"))?))
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Whether a source that begins as a USB id does is one: two numbers of four hexadecimal digits.
pub fn is_usb_id(source: &str) -> bool {
    let is_number = |text: &str| text.len() == 4 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let ids = source.strip_prefix(USB).and_then(|ids| ids.split_once(':'));
    ids.is_some_and(|(vendor, product)| is_number(vendor) && is_number(product))
}

/// The node that a source stands for: `usb:VENDOR:PRODUCT` is the first device of such a camera, all
/// else a path. None if there is no such camera now.
pub fn resolve(source: &Path) -> Option<PathBuf> {
    resolve_among(source, list)
}

fn resolve_among(source: &Path, list: impl FnOnce() -> Vec<VideoDevice>) -> Option<PathBuf> {
    let Some(ids) = source.to_str().and_then(|text| text.strip_prefix(USB)) else {
        return Some(source.to_owned());
    };
    let (vendor, product) = ids.split_once(':')?;
    let wanted = |device: &VideoDevice| {
        device
            .usb
            .as_ref()
            .is_some_and(|(v, p)| v.eq_ignore_ascii_case(vendor) && p.eq_ignore_ascii_case(product))
    };
    let mut devices: Vec<_> = list().into_iter().filter(wanted).collect();
    devices.sort_by_key(|device| device.index);
    devices.into_iter().next().map(|device| device.node)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A `/sys` and `/dev` with a webcam of two nodes and a loopback device.
    fn machine() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("sys/devices/usb1/1-1/idVendor", "046d\n");
        write("sys/devices/usb1/1-1/idProduct", "0825\n");
        fs::create_dir_all(root.path().join("sys/devices/usb1/1-1/1-1:1.0")).unwrap();
        for (number, name, index) in
            [(2, "Webcam C270", 1), (10, "Dummy", 0), (1, "Webcam C270", 0)]
        {
            write(&format!("{CLASS}/video{number}/name"), &format!("{name}\n"));
            write(&format!("{CLASS}/video{number}/index"), &format!("{index}\n"));
        }
        for number in [1, 2] {
            let interface = root.path().join("sys/devices/usb1/1-1/1-1:1.0");
            symlink(interface, root.path().join(format!("{CLASS}/video{number}/device"))).unwrap();
        }
        fs::create_dir_all(root.path().join(BY_ID)).unwrap();
        symlink("../../video1", root.path().join(BY_ID).join("usb-C270-index0")).unwrap();
        root
    }

    #[test]
    fn devices_are_listed_by_number_with_their_names() {
        let machine = machine();
        let devices = list_under(machine.path());
        let nodes: Vec<_> = devices.iter().map(|device| device.node.to_str().unwrap()).collect();
        assert_eq!(nodes, ["/dev/video1", "/dev/video2", "/dev/video10"]);
        assert_eq!(devices[0].name, "Webcam C270");
        assert_eq!(devices[0].usb, Some(("046d".into(), "0825".into())));
        assert_eq!(devices[0].links, [Path::new("/dev/v4l/by-id/usb-C270-index0")]);
        assert_eq!((devices[2].usb.as_ref(), devices[2].links.len()), (None, 0));
        assert!(list_under(Path::new("/nowhere")).is_empty());
    }

    #[test]
    fn a_usb_id_stands_for_the_first_device_of_such_a_camera() {
        let machine = machine();
        let resolve =
            |source: &str| resolve_among(Path::new(source), || list_under(machine.path()));
        assert_eq!(resolve("usb:046D:0825"), Some("/dev/video1".into()));
        assert_eq!(resolve("usb:046d:9999"), None);
        assert_eq!(resolve("usb:046d"), None);
        for (text, good) in [
            ("usb:046d:0825", true),
            ("usb:046d", false),
            ("usb:46d:825", false),
            ("046d:0825", false),
        ] {
            assert_eq!(is_usb_id(text), good, "{text}");
        }
        assert_eq!(resolve("/dev/video7"), Some("/dev/video7".into()));
    }
}
