# Sourced by build.sh and test.sh: how to compile and link for a 64-bit Raspberry Pi OS (Debian 12,
# glibc 2.36) on an x86-64 Debian 12, and how to run the result here.
# Needs: gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross libclang1-14 qemu-user

cross_target=aarch64-unknown-linux-gnu
# Debian's cross compiler and C library.
cross_root=/usr/aarch64-linux-gnu

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
# The V4L2 bindings are generated from the target's headers.
export BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu="-I$cross_root/include"
# Where sources, dependencies and build lie must not show in the program: see rustc.sh. Where cargo's
# registry lies stands here, so that what was built without is built anew.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/crates"
export RUSTC_WRAPPER=$PWD/cross/rustc.sh
# What ships, less what debuggers read: also the build's id, a hash of that too, which holds names that the
# compiler makes up anew in another folder.
cross_strip() { aarch64-linux-gnu-strip --remove-section=.note.gnu.build-id "$@"; }
# An incremental build's bytes depend on those before it.
export CARGO_INCREMENTAL=0
# Both the loader (-L) and the libraries must be the cross compiler's. Where the machine also has
# arm64 packages installed, the loader would else pick their glibc, and mixing two builds hangs in
# pthread_create.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="timeout 600 qemu-aarch64 -L $cross_root -E LD_LIBRARY_PATH=$cross_root/lib"

# The standard library for the target: rustup's, else Debian's Rust and its own.
# (apt: dpkg --add-architecture arm64; rustc-web cargo-web libstd-rust-web-dev:arm64)
cross_cargo=cargo
if ! rustup target list --installed 2>/dev/null | grep -qx "$cross_target" &&
    ! timeout 120 rustup target add "$cross_target"; then
    if [ ! -d "/usr/lib/rustlib/$cross_target/lib" ]; then
        echo "cross: no standard library for $cross_target: neither 'rustup target add' nor" \
            "Debian's libstd-rust-web-dev:arm64 gives one" >&2
        return 1
    fi
    cross_cargo=/usr/bin/cargo
    export RUSTC=/usr/bin/rustc
fi
