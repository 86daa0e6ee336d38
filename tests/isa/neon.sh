#!/bin/bash
# neon.sh [FILTER...]: the test suite on AArch64, natively or, elsewhere, cross-compiled and run by qemu.
. "$(dirname "$0")/common.sh"
target=aarch64-unknown-linux-gnu

# The package that PACKAGE depends on whose name starts with PREFIX and a digit.
dependency() { apt-cache depends "$1" | sed -n "s/^ *Depends: \\($2[0-9][0-9.]*\\)\$/\\1/p" | head -1; }

# The Rust compiler that Debian builds its browsers with, and its standard library for arm64: unpacked, not installed.
debian_rust() {
  local dir=$tools/rust-web
  if [ ! -e "$dir/done" ]; then
    rm -rf "$dir"
    mkdir -p "$dir"
    unpack_debian_rust "$dir"
    touch "$dir/done"
  fi
  export RUSTC=$dir/rustc RUSTDOC=$dir/rustdoc CARGO_TARGET_DIR=$root/target/neon
}

unpack_debian_rust() (
  dir=$1
  apt update
  std=$(dependency libstd-rust-web-dev libstd-rust-web-)
  llvm=$(dependency "$std" libllvm)
  # arm64's package comes through lists of its own, so that the machine does not become one of two architectures.
  mkdir -p "$dir"/debs "$dir"/arm64/{lists,archives}/partial
  : > "$dir/arm64/status"
  arm64=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::Lists="$dir/arm64/lists"
    -o Dir::State::status="$dir/arm64/status" -o Dir::Cache::Archives="$dir/arm64/archives"
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
  cd "$dir/debs"
  apt download rustc-web libstd-rust-web-dev "$std" "$llvm"
  apt "${arm64[@]}" update
  apt "${arm64[@]}" download libstd-rust-web-dev
  for deb in *.deb; do dpkg-deb -x "$deb" "$dir/root"; done
  for tool in rustc rustdoc; do
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$dir/root/usr/lib/x86_64-linux-gnu" "$dir/root/usr/bin/$tool" \
      > "$dir/$tool"
    chmod +x "$dir/$tool"
  done
  rm -rf "$dir/debs" "$dir/arm64"
)

if [ "$(uname -m)" != aarch64 ]; then
  need "${neon[@]}"
  if ! [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
    say "neon.sh: rustup target add $target, else Debian's rustc-web"
    timeout 120 rustup target add "$target" 2> /dev/null || debian_rust
  fi
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
  set -- "${beyond_qemu[@]}" "$@"
  # Nothing is shared with the native build, so build fast.
  export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
  cargo_args=(--target "$target")
fi
run_suite "neon, scalar" "$@"
