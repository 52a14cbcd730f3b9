# The node program: POSIX sh, constant, without secrets. It travels as the argument of `sh -c` (so there is nothing to read
# ahead, and a node need not read it byte by byte), in single quotes that sh, csh and fish read alike: therefore here is
# no single quote, no `!` before anything but a space, and no newline that matters: `node::command` drops comments and
# joins the lines.
#
# Around it: umask 077, LC_ALL=C, a fixed PATH, an otherwise empty environment. What varies comes as lines on standard
# input; the lines of the first request may come as arguments, since sshd takes no input before the program runs, which
# would cost a round trip. Each fork costs a node about 1 ms: observe takes two (ls, cat), and a third (grep) when it is asked what is shared and the
# kernel knows a filesystem that hosts share; replace eleven (two for the watchdog, flock, tar,
# sync, the hash, mv, sync, rmdir, ls, cat), a further mv for each further directory, and one when the lock's is made.
#
# $k is the nonce that starts every reply line, $n a newline, $blank what shells split words at.
set +xva
umask 077
n=${IFS#??}
n=${n%"${n#?}"}
blank=${IFS%"${IFS#???}"}
case $# in 0) read -r k ;; *) k=$1; shift ;; esac

# Only a builtin printf may ever hold a secret; mksh and posh have none.
p=$PATH
PATH=/nonexistent
printf "" 2>/dev/null || { echo "$k refuse /bin/sh has no builtin printf"; exit 0; }
PATH=$p
for t in sha256sum "shasum -a 256" "openssl dgst -sha256 -r"; do
  command -v ${t%% *} >/dev/null 2>&1 && break
  t=
done
[ "$t" ] || { echo "$k refuse there is no sha256sum, shasum or openssl"; exit 0; }
case $t in openssl*) sep=" *" ;; *) sep="  " ;; esac
stage= w= locked= paths= ino= shared=

# The exit is tidy whatever ends the program: no staged file, no watchdog, no lock stays.
finish() {
  [ -z "$stage" ] || rm -rf $stage 9<&-
  [ "$locked" != dir ] || rm -rf "$lock/lock"
  [ -z "$w" ] || kill -USR1 "$w" 2>/dev/null
}
trap finish EXIT
trap "exit 1" HUP INT TERM PIPE

# Ends the whole process group when the controller has gone without a word: a half-open connection gives no EOF. It is told to
# leave by USR1, for which the program above has no trap: a forked shell loses a signal that comes before it has dropped
# the traps of its parent.
watch() {
  [ -z "$w" ] || return 0
  (
    q= s=
    trap "q=1; kill \$s 2>/dev/null" USR1
    sleep "$1" &
    s=$! ;
    [ -z "$q" ] || kill "$s"
    wait "$s"
    [ -z "$q" ] || exit
    trap "" TERM USR1
    kill -TERM 0
    sleep 2
    kill -KILL 0
  ) </dev/null >/dev/null 2>&1 9<&- &
  w=$! ;
}

# Waits a moment, and fails when the time for the lock is over; the clock is read without a fork.
nap() {
  read -r now x </proc/uptime
  [ "${now%%.*}" -lt "$end" ] || return 1
  sleep 0.2 2>/dev/null || sleep 1
}

# Takes the lock of directory $1, which nobody else can open: flock, which dies with us, or where the filesystem or the
# node has none, a directory that tells whose it is. It is broken when its owner on this boot is dead or it is old; the
# compare before each rename decides all the same. 1 says that somebody else holds it after some five seconds, 2 that there
# is no such directory and none can be made.
lock() {
  lock=$1
  [ -z "$locked" ] || return 0
  umask 022
  [ -d "$lock" ] || mkdir -p -m 700 "$lock" 2>&1
  umask 077
  [ -d "$lock" ] && [ -r "$lock" ] || return 2
  read -r now x </proc/uptime
  end=$((${now%%.*} + 5))
  exec 9<"$lock"
  while :; do
    flock -n 9 2>/dev/null
    case $? in
      0) locked=flock; return 0 ;;
      1) nap 9<&- || return 1 ;;
      *) break ;;
    esac
  done
  exec 9<&-
  read -r host </proc/sys/kernel/hostname
  read -r boot </proc/sys/kernel/random/boot_id
  until mkdir "$lock/lock" 2>/dev/null; do
    h= b= q=
    [ ! -r "$lock/lock/owner" ] || read -r h b q <"$lock/lock/owner"
    if [ "$h $b" = "$host $boot" ] && ! kill -0 "$q" 2>/dev/null || [ "$(find "$lock/lock" -prune -mmin +2 2>/dev/null)" ]; then
      mv "$lock/lock" "$lock/lock.$k" 2>/dev/null && rm -rf "$lock/lock.$k"
    else
      nap || return 1
    fi
  done
  locked=dir
  printf "%s\n" "$host $boot $$" >"$lock/lock/owner"
}

# Says what lies at $paths (some are patterns): the lines of ls, then the content of each regular file up to 1 MiB in
# the order of those lines, whose sizes frame it. What a pattern finds with a blank in its name is none of ours.
look() {
  set +f
  set -- /proc/self/
  for f in $paths; do
    case $f in *["$blank"]*) continue ;; esac
    [ ! -e "$f" ] && [ ! -L "$f" ] || set -- "$@" "$f"
  done
  set -f
  l=$(ls -ldn$ino -- "$@" 9<&-)
  IFS=$n
  set -- $l
  unset IFS
  files=
  for l; do
    printf "%s l %s\n" "$k" "$l"
    set -- $l
    [ -z "$ino" ] || shift
    case $1 in -*) [ "$5" -gt 1048576 ] || files="$files $9" ;; esac
  done
  [ -z "$shared" ] || mounts
  printf "%s cat\n" "$k"
  [ -z "$files" ] || cat -- $files 2>/dev/null 9<&-
  printf "\n%s end\n" "$k"
}

# Tells which boot of which machine this is, and what is mounted at $paths: device, type, source, the part of it, place. Only
# where the kernel knows a filesystem that hosts share, so that all others are spared the fork; after ls, since looking mounts
# what is mounted on demand. The pattern keeps the mounts of a thousand containers here.
mounts() {
  read -r l </proc/sys/kernel/random/boot_id
  printf "%s boot %s\n" "$k" "$l"
  while read -r x f; do
    case ${f:-$x} in nfs | nfs4 | lustre | gpfs | beegfs | ceph | cifs | smb3) break ;; esac
    x=
  done </proc/filesystems
  [ "$x" ] || return 0
  set --
  for f in $paths; do
    set -- "$@" -e "^[0-9]* [0-9]* [0-9:]* [^ ]* $f "
  done
  l=$(grep "$@" /proc/self/mountinfo 2>/dev/null 9<&-)
  IFS=$n
  set -- $l
  unset IFS
  for l; do
    [ ${#l} -lt 4096 ] || continue
    set -- $l
    x="$4 $5" f=$3
    while [ $# -gt 3 ] && [ "$1" != - ]; do
      shift
    done
    printf "%s mount %s %s %s %s\n" "$k" "$f" "$2" "$3" "$x"
  done
}

# Looks the number of a user or group up: $1 is passwd or group, $2 the name, $3 that file below the host's root.
number() {
  while IFS=: read -r a x y z; do
    [ "$a" = "$2" ] && break
    y=
  done <"$3"
  [ "$y" ] || { y=$(getent "$1" "$2" 2>/dev/null 9<&-) && y=${y#*:*:} && y=${y%%:*}; }
  printf "%s id %s %s %s\n" "$k" "$1" "$2" "${y:--}"
}

# Tells a user's number, group and home: $1 is the name, $2 the passwd file below the host's root.
home() {
  u=
  while IFS=: read -r a x u g x d x; do
    [ "$a" = "$1" ] && break
    u=
  done <"$2"
  if [ -z "$u" ] && [ "$2" = /etc/passwd ]; then
    d=$(getent passwd "$1" 2>/dev/null 9<&-)
    set -f
    IFS=:
    set -- $d
    unset IFS
    u=$3 g=$4 d=$6
  fi
  printf "%s home %s %s %s\n" "$k" "${u:--}" "${g:--}" "$d"
}

# Stages what comes as lines, for nodes without tar: a directory, or a file with its number of lines, and at last the end.
unpack() {
  while read -r what mode owner lines f; do
    case $what in
      end) last=$f; return ;;
      dir) mkdir "$f" 9<&- ;;
      file | cut)
        set -C
        {
          while [ "$lines" -gt 1 ]; do
            IFS= read -r l
            printf "%s\n" "$l"
            lines=$((lines - 1))
          done
          IFS= read -r l
          case $what in file) printf "%s\n" "$l" ;; *) printf "%s" "$l" ;; esac
        } >"$f"
        set +C
        ;;
    esac
    chown "$owner" "$f" 9<&-
    chmod "$mode" "$f" 9<&-
  done
}

# Replaces files. The plan: a line `SHA256 OLD DIRECTORY NAME` for each (OLD is - where nothing is to be there, SHA256 is - where
# nothing shall be any more), the files of one directory together; the payload stages each in DIRECTORY/.regprov.NONCE with owner and mode. What is
# there must still be what was observed; a file that fails is said and left alone, the others go on. Its last entry is the
# lock's directory: when that has not come, neither has everything before it, and nothing is touched. What the tools
# complain about stands between our lines, so that it has come when the reply ends.
replace() {
  set -f
  exec 2>&1
  shared= paths= news= sums= dirs= here= good= gone= fresh= i=0
  how=$1
  set --
  while read -r sum old dir name && [ "$sum" != . ]; do
    [ "$sum" = - ] || news="$news $dir/.regprov.$k/$name"
    [ "$old" = - ] || sums="$sums $dir/$name"
    case " $dirs " in *" $dir "*) ;; *) dirs="$dirs $dir" stage="$stage $dir/.regprov.$k" ;; esac
    set -- "$@" "$sum" "$old" "$dir" "$name"
  done
  last=
  case $how in tar) last=$(tar -xpmvf - -C / 9<&-) ;; lines) unpack ;; esac
  last=${last##*"$n"}
  last=${last%/}
  # The slow part comes before the comparison, so that little time passes between it and the rename.
  for f in $news; do
    [ ! -f "$f" ] || here="$here $f"
  done
  if [ -e /sys/fs/selinux/enforce ]; then
    for f in $here; do
      at=${f%/.regprov."$k"/*}/${f##*/}
      [ ! -e "$at" ] || chcon --reference="$at" "$f" 9<&-
    done
  fi
  [ -z "$here" ] || sync $here 9<&- || sync 9<&-
  sums=$here$sums
  [ -z "$sums" ] || sums=$n$($t $sums 2>/dev/null 9<&-)$n
  while [ $# -gt 0 ]; do
    new=$3/.regprov.$k/$4 at=$3/$4
    z=$n$1$sep$new$n
    case $1 in -) z= ;; esac
    case $last$sums in "${lock#/}"*"$z"*) v=good ;; *) v=unstaged ;; esac
    case $2 in
      -) [ ! -e "$at" ] && [ ! -L "$at" ] || v=conflict ;;
      *)
        case $sums in *"$n$2$sep$at$n"*) ;; *) v=conflict ;; esac
        [ ! -L "$at" ] || v=conflict
        ;;
    esac
    case $v$2 in good-) fresh="$fresh $at" ;; esac
    case $v$1 in good-) gone="$gone $at" paths="$paths $at" ;; good*) good="$good $new" paths="$paths $at" ;; *) printf "%s %s %s\n" "$k" "$v" "$i" ;; esac
    i=$((i + 1))
    shift 4
  done
  # What goes does so first, so that the record, which comes with the rest, never knows less than there is.
  [ -z "$gone" ] || rm -f $gone 9<&-
  if [ "$good$gone" ]; then
    for dir in $dirs; do
      set --
      for f in $good; do
        [ "${f%/.regprov."$k"/*}" != "$dir" ] || set -- "$@" "$f"
      done
      [ $# = 0 ] || mv -f "$@" "$dir/" 9<&-
    done
    [ ! -e /sys/fs/selinux/enforce ] || ! command -v restorecon >/dev/null 2>&1 || [ -z "$fresh" ] || restorecon $fresh 9<&-
    sync $dirs 9<&- || sync 9<&-
  fi
  [ -z "$stage" ] || rmdir $stage 2>/dev/null 9<&- && stage=
  look
}

serve() {
  case $1 in
    path) paths="$paths $2" ;;
    shared) ino=i shared=1 ;;
    id) number "$2" "$3" "$4" ;;
    home) home "$2" "$3" ;;
    curl)
      v=$(PATH=/usr/local/bin:/usr/bin:/bin curl --version 2>/dev/null 9<&-)
      printf "%s curl %s\n" "$k" "${v%%"$n"*}"
      ;;
    lock)
      watch "$3"
      lock "$2"
      case $? in
        1) printf "%s busy\n" "$k"; exit 0 ;;
        2) printf "%s refuse the directory %s of its lock and record cannot be made\n" "$k" "$2"; exit 0 ;;
      esac
      ;;
    sweep) set +f; for f in "$2"/.regprov.*; do [ ! -d "$f" ] || rm -rf "$f" 9<&-; done ;;
    observe)
      command -v tar >/dev/null 2>&1 && printf "%s tar\n" "$k"
      look
      paths=
      ;;
    replace) replace "$2"; exit 0 ;;
  esac
}

# One request a line; the connection's end ends the program.
set -f
for l; do
  serve $l
done
while read -r verb a b c; do
  serve "$verb" "$a" "$b" "$c"
done
