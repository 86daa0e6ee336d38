#!/bin/bash
# bochs.sh PROGRAM [ARG...]: runs an x86-64 Linux program on an emulated CPU: boots Debian's cloud kernel in Bochs with an
# initial file system of the program, its libraries and busybox; prints what the program writes and exits with its exit
# code. Variables named EVENKEEL_* and EK_* reach the program.
#
#   BOCHS_CPU       a model that Bochs knows: corei7_skylake_x (default: AVX-512 F, CD, BW, DQ, VL), corei7_haswell_4770
#   BOCHS_TIMEOUT   seconds before giving up (1500), exit code 124
#   BOCHS_KERNEL    a vmlinuz (default: that of linux-image-cloud-amd64, downloaded once)
#   BOCHS_KEEP=1    keeps the work folder, with Bochs's log and the kernel's console
program=$(realpath "${1:?usage: $0 PROGRAM [ARG...]}")
shift
. "$(dirname "$0")/common.sh"

kernel=${BOCHS_KERNEL:-$tools/vmlinuz}
if [ ! -e "$kernel" ]; then
  mkdir -p "$tools/kernel"
  (
    cd "$tools/kernel"
    apt update
    apt download "$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')"
    dpkg-deb -x ./*.deb .
    mv boot/vmlinuz-* "$kernel"
  )
  rm -rf "$tools/kernel"
fi

work=$(mktemp -d)
emulator=
clean_up() {
  [ -z "$emulator" ] || kill -9 "$emulator" 2> /dev/null || true
  if [ -n "${BOCHS_KEEP:-}" ]; then say "bochs.sh: $work"; else rm -rf "$work"; fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# The guest's file system. Its first serial port is the console, its second the program's output.
mkdir -p "$work"/root/{bin,dev,proc,sys,tmp} "$work/iso"
cp "$(command -v busybox)" "$work/root/bin/busybox"
cp "$program" "$work/root/program"
chmod +x "$work/root/program"
for library in $({ ldd "$program"; ldd "$work/root/bin/busybox"; } 2> /dev/null | grep -o '/[^ :]*\.so[^ ]*'); do
  mkdir -p "$work/root${library%/*}"
  cp -L "$library" "$work/root$library"
done
{
  env | sed -n 's/^\(\(EVENKEEL\|EK\)_[A-Z_]*\)=.*/\1/p' | while read -r name; do printf 'export %s=%q\n' "$name" "${!name}"; done
  printf 'exec /program'
  [ $# = 0 ] || printf ' %q' "$@"
  printf '\n'
} > "$work/root/command"
cat > "$work/root/init" << 'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs d /dev
$b mount -t proc p /proc
$b mount -t sysfs s /sys
$b mount -t tmpfs t /tmp
$b stty -F /dev/ttyS1 raw 115200
cd /tmp
HOME=/tmp RUST_BACKTRACE=1 $b sh /command < /dev/null > /dev/ttyS1 2>&1
$b echo "@@@ exit $?" > /dev/ttyS0
$b sleep 1000
INIT
chmod +x "$work/root/init"
(cd "$work/root" && find . | cpio -o -H newc --quiet) > "$work/iso/initrd"

# A disc that boots it. The kernel leaves out what is slow to emulate or what Bochs lacks.
cp "$kernel" "$work/iso/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/iso/"
options="console=ttyS0,115200 quiet nokaslr mitigations=off tsc=reliable lpj=1000000 random.trust_cpu=on no_timer_check"
options="$options noapic nosmp pci=nommconf noxsaves clearcpuid=xsavec,xsaves initcall_blacklist=trace_eval_init"
options="$options acpi=off panic=-1 rdinit=/init"
cat > "$work/iso/isolinux.cfg" << CONFIG
default l
prompt 0
timeout 0
label l
 kernel /vmlinuz
 initrd /initrd
 append $options
CONFIG
genisoimage -quiet -o "$work/cd.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table "$work/iso"

: > "$work/console"
: > "$work/output"
cat > "$work/bochsrc" << CONFIG
megs: 512
cpu: model=${BOCHS_CPU:-corei7_skylake_x}, count=1, ips=100000000, reset_on_triple_fault=0
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path="$work/cd.iso", status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev="$work/console"
com2: enabled=1, mode=file, dev="$work/output"
display_library: rfb, options="timeout=0"
clock: sync=none, time0=local
mouse: enabled=0
sound: waveoutdrv=dummy
log: $work/log
panic: action=fatal
CONFIG
# Debian's Bochs starts in its debugger, which waits for "continue".
printf 'c\nq\n' > "$work/debugger"
(cd "$work" && exec bochs-bin -q -f bochsrc -rc debugger) > "$work/bochs" 2>&1 < /dev/null &
emulator=$!
disown "$emulator"

shown=0
show() {
  local size
  size=$(stat -c %s "$work/output")
  [ "$size" -le "$shown" ] || tail -c +$((shown + 1)) "$work/output" | head -c $((size - shown))
  shown=$size
}
deadline=$((SECONDS + ${BOCHS_TIMEOUT:-1500}))
while kill -0 "$emulator" 2> /dev/null && ! grep -q '^@@@ exit [0-9]' "$work/console"; do
  if [ $SECONDS -ge $deadline ]; then
    show
    say "bochs.sh: no end after ${BOCHS_TIMEOUT:-1500} s"
    exit 124
  fi
  sleep 0.3
  show
done
show
code=$(tr -d '\r' < "$work/console" | sed -n 's/^@@@ exit //p' | tail -1)
if [ -z "$code" ]; then
  tail -n 20 "$work/console" "$work/log" "$work/bochs" >&2
  say "bochs.sh: the emulator ended without an exit code"
  exit 125
fi
exit "$code"
