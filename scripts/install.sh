#!/bin/bash
# Installs the library as C libraries are installed: header, shared library with its ABI version as soname, static
# library, evenkeel.pc, CMake package.
#
#     cargo rustc --profile dist --lib --crate-type staticlib && scripts/install.sh /usr/local
#
#   --from DIR      where libevenkeel.a of a build lies (target/dist, else target/release; or those in CARGO_TARGET_DIR)
#   --libdir DIR    below the prefix (lib)
#   --shared-only, --static-only
#
# DESTDIR is heeded. `cargo cinstall` (cargo-c) installs the same files. The shared library is linked anew from the
# objects of the static one: cargo's own has no soname.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

die() { echo "install.sh: $*" >&2; exit 1; }

prefix='' from='' libdir=lib shared=1 static=1
while [ $# -gt 0 ]; do
  case $1 in
    --from) from=${2:?--from needs a folder}; shift ;;
    --libdir) libdir=${2:?--libdir needs a folder}; shift ;;
    --shared-only) static= ;;
    --static-only) shared= ;;
    -*) die "unknown option $1" ;;
    *) [ -z "$prefix" ] || die "more than one prefix"; prefix=$1 ;;
  esac
  shift
done
[ -n "$prefix" ] || die "usage: install.sh [--from DIR] [--libdir DIR] [--shared-only | --static-only] PREFIX"
[ "${prefix#/}" != "$prefix" ] || die "the prefix $prefix is no absolute path"
target=${CARGO_TARGET_DIR:-$root/target}
[ -n "$from" ] || from=$([ -f "$target/dist/libevenkeel.a" ] && echo "$target/dist" || echo "$target/release")
archive=$from/libevenkeel.a
[ -f "$archive" ] || die "there is no $archive; run cargo rustc --profile dist --lib --crate-type staticlib first"

header=$root/include/evenkeel.h
number() { awk -v name="EK_VERSION_$1" '$1 == "#define" && $2 == name { print $3 }' "$header"; }
version=$(number MAJOR).$(number MINOR).$(number PATCH)
# The ABI version: the major one, below 1.0 the minor one too (docs/abi.md).
abi=$(number MAJOR)
[ "$abi" != 0 ] || abi=0.$(number MINOR)
# What a static library of Rust needs of the system.
private="-lpthread -ldl -lm -lgcc_s"

to=${DESTDIR:-}$prefix
install -d "$to/include" "$to/$libdir/pkgconfig" "$to/share/evenkeel/cmake"
install -m 644 "$header" "$to/include/"
install -m 644 "$root"/cmake/evenkeel-config.cmake "$root"/cmake/evenkeel-config-version.cmake "$to/share/evenkeel/cmake/"
[ -z "$static" ] || install -m 644 "$archive" "$to/$libdir/"

if [ -n "$shared" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  # Nothing but the functions of the header is visible.
  { echo "{ global:"; sed 's/$/;/' "$root/tests/c_api/symbols.txt"; echo "local: *; };"; } > "$work/map"
  # shellcheck disable=SC2086
  ${CC:-cc} -shared -o "$work/library" -Wl,-soname,libevenkeel.so."$abi" -Wl,--version-script="$work/map" \
    -Wl,--gc-sections -Wl,-z,relro,-z,now -Wl,-O1 -Wl,--whole-archive "$archive" -Wl,--no-whole-archive $private
  strip --strip-unneeded "$work/library"
  install -m 755 "$work/library" "$to/$libdir/libevenkeel.so.$version"
  ln -sfn libevenkeel.so."$version" "$to/$libdir/libevenkeel.so.$abi"
  ln -sfn libevenkeel.so."$abi" "$to/$libdir/libevenkeel.so"
fi

# The prefix is found from where the file lies: the tree may be moved.
up=$(echo "$libdir/pkgconfig" | sed 's:[^/][^/]*:..:g')
cat > "$to/$libdir/pkgconfig/evenkeel.pc" << PC
prefix=\${pcfiledir}/$up
libdir=\${prefix}/$libdir
includedir=\${prefix}/include

Name: evenkeel
Description: CPU kernels of gradient-stable training
Version: $version
Libs: -L\${libdir} -levenkeel
Libs.private: $private
Cflags: -I\${includedir}
PC
