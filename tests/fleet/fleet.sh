#!/usr/bin/env bash
# Real OpenSSH sshd "nodes" on loopback addresses, each in a mount and PID namespace of its own.
#
#   fleet.sh up DIR N     start N nodes; what they are and how to reach them stands in DIR afterwards
#   fleet.sh down DIR     end them: exactly the processes that `up DIR` started
#
# Each node has its own empty /root, /home, /tmp and /var/tmp and its own copy (overlay) of this machine's /etc and /var/lib,
# all in memory. Everything else is shared. Nothing is mounted that this machine's other processes see.
#
# DIR afterwards: id, id.pub (what the nodes accept, with the lines of an authorized_keys that was there before), key.TYPE.pub (host keys), nodes (lines `ADDRESS PID`; the node's files are
# below /proc/PID/root), N.log (that node's sshd).
#
# Options, from the environment:
#   FLEET_PORT      the nodes' port (required)
#   FLEET_NET       the nodes are FLEET_NET.1, FLEET_NET.2, ... (required, such as 127.9.8)
#   FLEET_SHELLS    root's login shells, one a node, over and over (dash): a shell's name, or
#                     busybox   busybox sh
#                     slow      /bin/sh after FLEET_SLOW seconds (2)
#                     traced    /bin/sh under strace; /etc/fleet/trace on the node
#   FLEET_RC        when set, a line that each shell's rc file prints
#   FLEET_HOSTKEYS  types of host keys (ed25519)
#   FLEET_SSHD      further lines for sshd_config; they come first, so they win; @PORT@ is the port,
#                     and a ListenAddress replaces the node's own
#   FLEET_SHARED    a directory that all nodes share: DIR/shared, bound there
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

# Runs in fresh namespaces: $1 is DIR, $2 the node's number, $3 its login shell.
node() {
    local state=$1/n$2 tree i=$2 shell=$3 pid
    # The /proc of the caller's namespace is still there: this is the PID that the caller sees.
    read -r pid _ </proc/self/stat
    mkdir -p "$state"
    mount -t tmpfs -o mode=755 node "$state"
    mkdir -p "$state"/{root,home,tmp}
    chmod 700 "$state/root"
    chmod 1777 "$state/tmp"
    for tree in etc var/lib; do
        mkdir -p "$state/$tree".{up,work}
        mount -t overlay overlay -o "lowerdir=/$tree,upperdir=$state/$tree.up,workdir=$state/$tree.work" "/$tree"
    done
    mkdir /etc/fleet
    cp "$1"/key.* "$1/authorized_keys" "$1/sshd_config" /etc/fleet/
    chmod 600 /etc/fleet/key.*
    login_shell "$shell"
    # sshd wants it, and it is not there where no sshd ever ran.
    [ -d /run/sshd ] || { mount -t tmpfs -o mode=755 run /run && mkdir -m 755 /run/sshd; }
    mount --bind "$state/root" /root
    mount --bind "$state/home" /home
    mount -t tmpfs -o mode=1777 tmp /var/tmp
    [ -z "${FLEET_SHARED-}" ] || { mkdir -p "$FLEET_SHARED" && mount --bind "$1/shared" "$FLEET_SHARED"; }
    printf '%s.%s %s\n' "$FLEET_NET" "$((i + 1))" "$pid" >"$1/$i.node"
    # Last, since DIR may lie below /tmp.
    mount --bind "$state/tmp" /tmp
    mount -t proc proc /proc
    local listen=(-o "ListenAddress=$FLEET_NET.$((i + 1)):$FLEET_PORT")
    [[ ${FLEET_SSHD-} != *ListenAddress* ]] || listen=()
    exec "$(command -v sshd)" -D -e -f /etc/fleet/sshd_config "${listen[@]}"
}

# Gives root the shell $1.
login_shell() {
    local path
    case $1 in
        busybox) path=/etc/fleet/sh && ln -s "$(command -v busybox)" "$path" ;;
        slow) path=/etc/fleet/slow && printf '#!/bin/sh\nsleep %s\nexec /bin/sh "$@"\n' "${FLEET_SLOW:-2}" >"$path" ;;
        traced)
            path=/etc/fleet/traced
            printf '#!/bin/sh\nexec strace -f -v -s 4096 -o /etc/fleet/trace -e trace=%s /bin/sh "$@"\n' \
                execve,open,openat,creat,mkdir,mkdirat,write,chmod,fchmod,fchmodat,fsync,fdatasync,syncfs,rename,renameat,renameat2,close >"$path"
            ;;
        *) path=$(command -v "$1") ;;
    esac
    [ -L "$path" ] || [ "${path#/etc/}" = "$path" ] || chmod 755 "$path"
    sed -i "s|^\(root:.*:\)[^:]*\$|\1$path|" /etc/passwd
    [ -n "${FLEET_RC-}" ] || return 0
    # /root is mounted over after this.
    mkdir -p "$state/root/.config/fish"
    local rc
    for rc in .bashrc .zshenv .tcshrc .config/fish/config.fish; do
        printf 'echo "%s"\n' "$FLEET_RC" >"$state/root/$rc"
    done
}

up() {
    local dir=$1 n=$2 i type shells
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    [ -z "${FLEET_SHARED-}" ] || mkdir -p -m 755 "$dir/shared"
    ssh-keygen -q -t ed25519 -N '' -C fleet -f "$dir/id"
    cat "$dir/id.pub" >>"$dir/authorized_keys"
    {
        [ -z "${FLEET_SSHD-}" ] || printf '%s\n' "${FLEET_SSHD//@PORT@/$FLEET_PORT}"
        for type in ${FLEET_HOSTKEYS:-ed25519}; do
            ssh-keygen -q -t "$type" -N '' -C "$type" -f "$dir/key.$type"
            printf 'HostKey /etc/fleet/key.%s\n' "$type"
        done
        cat <<CONFIG
AuthorizedKeysFile /etc/fleet/authorized_keys
AuthenticationMethods publickey
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
UseDNS no
PidFile none
PrintMotd no
PrintLastLog no
LogLevel VERBOSE
CONFIG
    } >"$dir/sshd_config"
    local flags=(-m --propagation private --pid --fork --kill-child)
    [ "$(id -u)" = 0 ] || flags+=(-U --map-root-user --map-auto)
    read -r -a shells <<<"${FLEET_SHELLS:-dash}"
    for ((i = 0; i < n; i++)); do
        unshare "${flags[@]}" "${BASH_SOURCE[0]}" _node "$dir" "$i" "${shells[i % ${#shells[@]}]}" </dev/null >"$dir/$i.log" 2>&1 &
        disown
        echo "$!" >>"$dir/pids"
    done
    for ((i = 0; i < n; i++)); do
        local tries=0
        until grep -q '^Server listening' "$dir/$i.log"; do
            tries=$((tries + 1))
            if [ "$tries" -gt 400 ]; then
                printf 'fleet.sh: node %s did not come up:\n' "$i" >&2
                tail -n 5 "$dir/$i.log" >&2
                down "$dir"
                return 1
            fi
            sleep 0.05
        done
        cat "$dir/$i.node"
    done >"$dir/nodes"
}

down() {
    local pid
    [ -e "$1/pids" ] || return 0
    # Each is the parent of a node's first process, which ends with it, and with that everything on the node.
    while read -r pid; do
        kill -KILL "$pid" 2>/dev/null || true
    done <"$1/pids"
    rm -f "$1/pids"
}

case ${1-} in
    _node) node "$2" "$3" "$4" ;;
    up) up "$2" "$3" ;;
    down) down "$2" ;;
    *) sed -n '2,25p' "$0" >&2 && exit 2 ;;
esac
