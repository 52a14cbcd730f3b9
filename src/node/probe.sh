# The second constant program, of `regprov ping`: says what a node is like and writes nothing. It travels as program.sh does, under the same
# rules: no single quote, no `!` before anything but a space, no secret, and the nonce $k before every line.
#
# A request is a line `probe` and the directories to look at; the reply is lines `fact NAME WORDS` and `end`.
set +xva
umask 077
n=${IFS#??}
n=${n%"${n#?}"}
case $# in 0) read -r k ;; *) k=$1; shift ;; esac

p=$PATH
PATH=/nonexistent
printf "" 2>/dev/null || { echo "$k refuse /bin/sh has no builtin printf"; exit 0; }
PATH=$p

say() { printf "%s fact %s\n" "$k" "$*"; }

# What is free where $1 lies, or would lie: KiB, inodes, and whether we may write there.
space() {
  d=$1
  while [ ! -d "$d" ] && [ "$d" ]; do d=${d%/*}; done
  d=${d:-/}
  kib=$(df -Pk -- "$d" 2>/dev/null)
  inodes=$(df -Pi -- "$d" 2>/dev/null)
  w=w
  [ -w "$d" ] || w=-
  at=$1
  set -f
  set -- ${kib##*"$n"}
  kib=$4
  set -- ${inodes##*"$n"}
  say space "$at" "${kib:--}" "${4:--}" "$w"
}

probe() {
  set -- $(ls -ldn /proc/self/ 2>/dev/null)
  say uid "${3:--}"
  for t in sha256sum shasum openssl tar flock getent base64 chown chmod; do
    command -v "$t" >/dev/null 2>&1 && say tool "$t"
  done
  s=$(sync / 2>&1) && [ -z "$s" ] && say tool sync-file
  PATH=/usr/local/bin:$PATH
  for t in docker podman nerdctl buildah skopeo helm enroot singularity apptainer containerd crio kubelet k3s rke2; do
    command -v "$t" >/dev/null 2>&1 && say consumer "$t"
  done
  v=$(curl --version 2>/dev/null)
  say curl "${v%%"$n"*}"
  read -r s 2>/dev/null </sys/fs/selinux/enforce && say selinux "$s"
  say time "$(date +%s 2>/dev/null)"
}

serve() {
  case $1 in
    space) space "$2" ;;
    probe)
      probe
      printf "%s end\n" "$k"
      exit 0
      ;;
  esac
}

set -f
for l; do
  serve $l
done
while read -r verb a; do
  serve "$verb" "$a"
done
