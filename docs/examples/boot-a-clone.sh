#!/usr/bin/env bash
# A Debian machine from a snapshot, and another one from a snapshot of the first while it runs:
#   image -> snapshot -> volume web-1 -> boots over NBD, changes a file -> snapshot -> volume web-2 -> boots, shows the change
# usage: boot-a-clone.sh DIR     keeps the image in DIR, as it takes a minute to make; all else is removed at the end
#   SIZE=100G            the size of the image's disk, of which only the data takes space; 2G is the least
#   ICECORE=icecore      the program
#   MIRROR, SUITE        where Debian comes from, and which
#   BOOT_SECONDS=300     how long a machine may take to its first line
# Needs root (debootstrap, KVM) and about 3 GB. Installs Debian packages where programs are missing.
set -euo pipefail

dir=${1:?usage: boot-a-clone.sh DIR}
size=${SIZE:-100G}
icecore=${ICECORE:-icecore}
mirror=${MIRROR:-http://deb.debian.org/debian}
suite=${SUITE:-bookworm}
boot_seconds=${BOOT_SECONDS:-300}
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

fail() { printf 'boot-a-clone: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "this needs root, to make a Debian system in a directory"
icecore=$(command -v "$icecore") || fail "there is no program ${ICECORE:-icecore}: name it with ICECORE=PATH"
icecore=$(realpath "$icecore")
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
work=$(mktemp -d "${TMPDIR:-/var/tmp}/boot-a-clone.XXXXXX")
export ICECORE_REPO=$work/repo

# ---------------------------------------------------------------- what is left behind: nothing

running=() # process ids
console= # the one to show when something fails

end() {
    local status=$? pid
    trap - EXIT
    if [ "$status" != 0 ] && [ -n "$console" ]; then
        printf '\nthe end of %s:\n' "${console##*/}" >&2
        tail -n 40 "$console" | tr -d '\r' >&2
        cat "$work"/qemu-*.log >&2
    fi
    for pid in "${running[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${running[@]}"; do wait "$pid" 2>/dev/null || true; done
    if mountpoint -q "$work/tree/proc" 2>/dev/null; then umount "$work/tree/proc"; fi
    rm -rf --one-file-system "$work"
    exit "$status"
}
trap end EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

forget() { # PID
    local pid left=()
    for pid in "${running[@]}"; do [ "$pid" = "$1" ] || left+=("$pid"); done
    running=("${left[@]}")
}

# ---------------------------------------------------------------- time, and waiting

now() { echo "${EPOCHREALTIME/./}"; } # microseconds

step() { # TITLE COMMAND...
    local title=$1 begun
    shift
    begun=$(now)
    "$@"
    took "$title" "$begun"
}

took() { # TITLE BEGUN
    local us=$(($(now) - $2))
    printf '%7d.%03d s  %s\n' $((us / 1000000)) $((us / 1000 % 1000)) "$1"
}

# Waits until FILE, which process PID writes, has a line with TEXT, and leaves that line in `seen`.
await() { # FILE PID TEXT SECONDS
    local deadline=$((SECONDS + $4)) lines follower line='' part alive=yes status=1
    exec {lines}< <(exec tail -n +1 -f "$1")
    follower=$!
    while [ "$status" != 0 ] && [ "$SECONDS" -lt "$deadline" ] && [ "$alive" = yes ]; do
        # Looked at before the lines are, so that the last ones of a process that has ended are read.
        kill -0 "$2" 2>/dev/null || alive=no
        # A second without a line ends a read, which keeps what there is of one.
        while IFS= read -r -t 1 -u "$lines" part || { line+=$part && false; }; do
            line+=$part
            case $line in *"$3"*) status=0; break ;; esac
            line=
        done
    done
    exec {lines}<&-
    kill "$follower" 2>/dev/null || true
    if [ "$status" != 0 ]; then
        if [ "$alive" = no ]; then fail "process $2 ended, and there is no line with '$3' in ${1##*/}"; fi
        fail "no line with '$3' in ${1##*/} within $4 s"
    fi
    seen=${line%$'\r'}
}

# ---------------------------------------------------------------- the image

# The version of qemu-utils that goes with the qemu-system-x86 that apt would install.
qemu_utils_version() {
    local version
    version=$(apt-cache policy qemu-system-x86 | sed -n 's/^ *Candidate: //p')
    if apt-cache madison qemu-utils | cut -d '|' -f 2 | grep -qxF " $version "; then
        echo "$version"
    else
        apt-cache policy qemu-utils | sed -n 's/^ *Candidate: //p'
    fi
}

install_missing() {
    local missing=() file package
    while read -r file package; do
        command -v "$file" >/dev/null || [ -e "$file" ] || missing+=("$package")
    done <<'LIST'
debootstrap debootstrap
mke2fs e2fsprogs
sfdisk fdisk
grub-mkimage grub-common
/usr/lib/grub/i386-pc/boot.img grub-pc-bin
qemu-system-x86_64 qemu-system-x86
/usr/share/seabios/bios-256k.bin seabios
qemu-img qemu-utils
LIST
    [ ${#missing[@]} -gt 0 ] || return 0
    apt-get update -q >"$work/apt.log" 2>&1 || { tail "$work/apt.log" >&2; fail "apt-get update failed"; }
    # Packages of qemu break those of other versions: apt would remove a qemu-img of another version, such as one of the
    # backports, for the machine. So both are of the version that apt has of the machine.
    case " ${missing[*]} " in
    *" qemu-system-x86 "*) missing+=("qemu-utils=$(qemu_utils_version)") ;;
    esac
    echo "installing ${missing[*]}"
    if ! DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends --no-remove --allow-downgrades \
        "${missing[@]}" >>"$work/apt.log" 2>&1; then
        tail "$work/apt.log" >&2
        fail "cannot install ${missing[*]}"
    fi
}

# The unit says at each boot what is in a file, adds a line to it, and says so once the line is on the disk. Which
# machine this is, and whether it switches itself off, it has from the firmware: both are the host's to say.
make_units() { # TREE
    install -d "$1/var/lib" "$1/usr/local/sbin" "$1/etc/systemd/system/multi-user.target.wants"
    echo "made with the image" >"$1/var/lib/marker"
    cat >"$1/usr/local/sbin/mark" <<'MARK'
#!/bin/bash
set -eu
me=$(cat /sys/class/dmi/id/product_name)
say() { printf '\n%s\n' "$*" >/dev/console; }
say "MARKER $me has: $(paste -sd '|' /var/lib/marker)"
echo "boot $(wc -l </var/lib/marker) was of $me, $(cat /proc/sys/kernel/random/boot_id)" >>/var/lib/marker
sync
say "MARKER $me wrote: $(tail -n 1 /var/lib/marker)"
if [ "$(cat /sys/class/dmi/id/product_version)" = poweroff ]; then systemctl --no-block poweroff; fi
MARK
    chmod 755 "$1/usr/local/sbin/mark"
    cat >"$1/etc/systemd/system/mark.service" <<'UNIT'
[Unit]
Description=Show and change /var/lib/marker
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/mark
UNIT
    # So that a snapshot is of a machine that is busy, not of one that waits.
    cat >"$1/etc/systemd/system/busy.service" <<'UNIT'
[Unit]
Description=Write all the time
[Service]
ExecStart=/bin/sh -c 'while :; do for i in 1 2 3 4; do dd if=/dev/urandom of=/var/tmp/busy.$i bs=64k count=16 conv=fsync status=none; done; done'
UNIT
    ln -s ../mark.service ../busy.service "$1/etc/systemd/system/multi-user.target.wants/"
}

make_tree() { # TREE
    local log=$work/debootstrap.log
    mkdir -p "$dir/debs"
    debootstrap --variant=minbase --cache-dir="$dir/debs" \
        --include=systemd-sysv,initramfs-tools,zstd,linux-image-cloud-amd64 \
        "$suite" "$1" "$mirror" >"$log" 2>&1 || { tail "$log" >&2; fail "debootstrap failed"; }
    rm -rf "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*
    echo "LABEL=root / ext4 errors=remount-ro 0 1" >"$1/etc/fstab"
    echo droplet >"$1/etc/hostname"
    : >"$1/etc/machine-id"
    make_units "$1"
    # The initial ramdisk has what this disk needs, and not what the machine has that makes it.
    sed -i 's/^MODULES=.*/MODULES=list/' "$1/etc/initramfs-tools/initramfs.conf"
    printf '%s\n' virtio_pci virtio_blk ext4 >>"$1/etc/initramfs-tools/modules"
    mount -t proc proc "$1/proc"
    chroot "$1" update-initramfs -u >>"$log" 2>&1 || { tail "$log" >&2; fail "update-initramfs failed"; }
    umount "$1/proc"
    install -d "$1/boot/grub"
    cat >"$1/boot/grub/grub.cfg" <<'GRUB'
linux /vmlinuz root=LABEL=root ro console=ttyS0
initrd /initrd.img
boot
GRUB
}

# A partition table, GRUB between it and the only partition, and a file system as large as the disk is.
make_image() { # IMAGE
    local start=$((1024 * 1024)) tree=$work/tree image=$1.new bytes
    make_tree "$tree"
    rm -f "$image"
    truncate -s "$size" "$image"
    bytes=$(stat -c %s "$image")
    echo "$((start / 512)),,L,*" | sfdisk -q --label dos "$image"
    mke2fs -q -t ext4 -L root -E "offset=$start,lazy_itable_init=1,lazy_journal_init=1" -d "$tree" \
        "$image" "$(((bytes - start) / 1024))k"
    grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o "$work/core.img" biosdisk part_msdos ext2 linux normal
    [ "$(stat -c %s "$work/core.img")" -le $((start - 512)) ] || fail "GRUB does not fit before the partition"
    dd if=/usr/lib/grub/i386-pc/boot.img of="$image" bs=440 count=1 conv=notrunc status=none
    dd if="$work/core.img" of="$image" bs=512 seek=1 conv=notrunc status=none
    rm -rf --one-file-system "$tree"
    mv "$image" "$1"
}

# An image is used again as long as what makes it is the same.
cached_image() {
    local recipe
    recipe=$({ declare -f make_units make_tree make_image; echo "$mirror $suite"; } | sha256sum | cut -c1-8)
    image=$dir/droplet-$size-$recipe.raw
    if [ ! -e "$image" ]; then
        rm -f "$dir/droplet-$size-"*
        step "make a Debian image of $size" make_image "$image"
    fi
    printf '%s: %s, of which %s are on the disk\n' "${image##*/}" \
        "$(numfmt --to=iec "$(stat -c %s "$image")")" "$(du -h "$image" | cut -f1)"
}

# ---------------------------------------------------------------- volumes and machines

serve() { # VOLUME
    local out=$work/serve-$1.log
    : >"$out"
    "$icecore" volume serve "$1" --socket "$work/$1.sock" >"$out" 2>&1 </dev/null &
    server=$!
    running+=("$server")
    await "$out" "$server" "serving $1" 10
}

# Ends the server as an operator does, and takes its word that all is synced.
serve_no_more() { # VOLUME PID
    kill -TERM "$2"
    wait "$2" || fail "the server of $1 ended with $?: $(cat "$work/serve-$1.log")"
    forget "$2"
    tail -n 1 "$work/serve-$1.log"
}

# A /dev/kvm alone is not enough: without these flags it is one made in software, for kernels built for it.
choose_accelerator() {
    if [ -w /dev/kvm ] && grep -qwE 'svm|vmx' /proc/cpuinfo; then
        accel=kvm cpu=host
        echo "machines run under KVM"
    else
        accel=tcg cpu=max
        echo "machines are emulated, as the processor has no virtualization to offer"
    fi
}

boot() { # VOLUME stay|poweroff
    console=$work/console-$1.log
    : >"$console"
    qemu-system-x86_64 -machine "q35,accel=$accel" -cpu "$cpu" -m 512M -nodefaults -no-user-config -display none \
        -smbios "type=1,product=$1,version=$2" -serial "file:$console" \
        -blockdev "driver=nbd,node-name=disk,server.type=unix,server.path=$work/$1.sock,export=$1,discard=unmap" \
        -device virtio-blk-pci,drive=disk >"$work/qemu-$1.log" 2>&1 </dev/null &
    machine=$!
    running+=("$machine")
}

# Its first line, and that it has changed its disk.
await_marker() { # VOLUME
    local begun
    begun=$(now)
    await "$console" "$machine" "MARKER $1 has:" "$boot_seconds"
    has=${seen#*has: }
    took "boot $1 to the line of its unit" "$begun"
    await "$console" "$machine" "MARKER $1 wrote:" "$boot_seconds"
    wrote=${seen#*wrote: }
    printf '           %s had:   %s\n           %s wrote: %s\n' "$1" "$has" "$1" "$wrote"
}

power_cut() { # PID
    kill -KILL "$1"
    wait "$1" 2>/dev/null || true
    forget "$1"
}

await_poweroff() { # VOLUME
    local begun
    begun=$(now)
    await "$console" "$machine" "Power down" "$boot_seconds"
    wait "$machine" || fail "qemu ended with $?: $(cat "$work/qemu-$1.log")"
    forget "$machine"
    took "$1 switches itself off" "$begun"
}

# Both have holes where nothing was ever written, which take no time to compare here.
same_image() { # SNAPSHOT
    step "restore $1 to a file" "$icecore" -q --no-progress restore "$1" "$work/restored.raw"
    [ "$(stat -c %s "$work/restored.raw")" = "$(stat -c %s "$image")" ] || fail "$1 has another size than the image"
    step "it is equal to the image" qemu-img compare -q -f raw -F raw "$work/restored.raw" "$image"
    rm "$work/restored.raw"
}

e2fsck_quietly() { # IMAGE?offset=N
    e2fsck -fn "$1" >"$work/fsck.log" 2>&1 || { cat "$work/fsck.log" >&2; fail "the file system is damaged"; }
}

sound_file_system() { # VOLUME
    step "export $1 to a file" "$icecore" -q --no-progress volume export "$1" "$work/exported.raw"
    step "its file system is sound" e2fsck_quietly "$work/exported.raw?offset=$((1024 * 1024))"
    rm "$work/exported.raw"
}

# ---------------------------------------------------------------- what it is about

install_missing
cached_image
"$icecore" -q init
choose_accelerator

step "snapshot the image" "$icecore" --no-progress snapshot create "$image" --droplet web --name golden
step "make volume web-1 of it" "$icecore" volume create web-1 --snapshot golden
step "serve web-1" serve web-1
web_1_server=$server
boot web-1 stay
await_marker web-1
web_1_machine=$machine
[ "$has" = "made with the image" ] || fail "web-1 has other content than the image"
first_change=$wrote

step "snapshot web-1 while it runs" "$icecore" --no-progress volume snapshot web-1 --name booted
kill -0 "$web_1_machine" || fail "web-1 does not run any more"

step "make volume web-2 of it" "$icecore" volume create web-2 --snapshot booted
step "serve web-2" serve web-2
boot web-2 poweroff
await_marker web-2
[ "$has" = "made with the image|$first_change" ] || fail "web-2 does not have what web-1 wrote: $first_change"
await_poweroff web-2
serve_no_more web-2 "$server"

kill -0 "$web_1_machine" || fail "web-1 does not run any more"
power_cut "$web_1_machine"
serve_no_more web-1 "$web_1_server"
console=

"$icecore" volume list
"$icecore" snapshot list
same_image golden
sound_file_system web-2
step "verify all that is stored" "$icecore" --no-progress verify --read-data
echo "ok"
