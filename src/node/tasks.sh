# The third constant program: runs what a run needs of a node beside its files (credential helpers, curl, logger, a restart). It travels
# as program.sh does, under the same rules: no single quote, no `!` before anything but a space, no secret, and the nonce $k before
# every line. Files of a run without tasks are not slowed down by its bytes.
#
# A request is a line `task SECONDS LINES KIND WORD...` and as many lines of data, which may be secret: they are read before anything runs,
# and reach the command through its standard input alone. The reply is `ran BYTES STDERR-BYTES`, those bytes (standard output, a line
# with the exit status, standard error), and `end`: what a command says can forge no line of ours. Each task costs eleven forks: two for the
# watchdog, two for what is captured, six for the pipes, and the command.
set +xva
umask 077
n=${IFS#??}
n=${n%"${n#?}"}
case $# in 0) read -r k ;; *) k=$1; shift ;; esac

# Only a builtin printf may ever hold a secret; mksh and posh have none.
p=$PATH
PATH=/nonexistent
printf "" 2>/dev/null || { echo "$k refuse /bin/sh has no builtin printf"; exit 0; }
PATH=$p
w=
bins="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

finish() { [ -z "$w" ] || kill -USR1 "$w" 2>/dev/null; }
trap finish EXIT
trap "exit 1" HUP INT PIPE
# The watchdog ends the whole group, us among it; the command is gone by the time that a trap runs.
trap "printf \"%s late\n\" \"\$k\"; exit 1" TERM

# Ends the whole process group when a task takes longer than it may; as in program.sh.
watch() {
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
  ) </dev/null >/dev/null 2>&1 &
  w=$! ;
}

# Runs "$@" with $d on its standard input. 4 is where its output goes, 5 where its complaints do; both are capped, and the exit status
# follows the output, so that it is missing where the output was too long.
run() {
  r=$(
    exec 4>&1
    e=$(
      {
        {
          printf "%s" "$d" | { "$@" 2>&5 4>&- 5>&-; printf "\n%s" "$?"; } | head -c 65600 >&4 5>&-
        } 5>&1 | head -c 4096 4>&-
      } 2>/dev/null
    )
    printf "%s\n%s" "$e" "${#e}"
  )
  e=${r##*"$n"}
  r=${r%"$n"*}
  printf "%s ran %s %s\n%s\n%s end\n" "$k" "${#r}" "$e" "$r" "$k"
}

# curl with its configuration on standard input, through the proxy that the node names for log-ins. Its address may hold a password, which is
# why it comes by export and not as an argument of env.
fetch() {
  PATH=$bins
  [ ! -r /etc/environment ] || while IFS= read -r l; do
    case $l in
      https_proxy=* | HTTPS_PROXY=* | all_proxy=* | ALL_PROXY=* | no_proxy=* | NO_PROXY=*) v=${l#*=}; v=${v#\"}; v=${v%\"}; export "${l%%=*}=$v" ;;
    esac
  done </etc/environment
  curl -q -K -
}

# 99 says that it was not running, so that nothing had to be done.
restart() {
  PATH=$bins
  case $1 in k3s | k3s-agent | rke2-server | rke2-agent | crio | containerd | docker | kubelet) ;; *) return 1 ;; esac
  # dockerd reads its configuration again on a signal, and a restart might end containers.
  case $1 in docker) act=reload ;; *) act=restart ;; esac
  if [ -d /run/systemd/system ]; then
    systemctl -q is-active "$1" || return 99
    systemctl "$act" "$1"
  elif command -v rc-service >/dev/null 2>&1; then
    rc-service "$1" status >/dev/null 2>&1 || return 99
    rc-service "$1" "$act"
  else
    service "$1" status >/dev/null 2>&1 || return 99
    service "$1" "$act"
  fi
}

# The rest of a request: the seconds, the lines of data, the kind and its words.
task() {
  d=
  i=$2
  while [ "$i" -gt 0 ]; do
    IFS= read -r l || exit 1
    d=$d$l$n
    i=$((i - 1))
  done
  watch "$1"
  case $3 in
    helper) run env -i HOME="$6" PATH="$bins" LC_ALL=C "docker-credential-$5" "$4" ;;
    curl) run fetch ;;
    log) run env PATH="$bins" logger -t regprov ;;
    restart) run restart "$4" ;;
  esac
  kill -USR1 "$w" 2>/dev/null
  w=
}

set -f
while read -r verb rest; do
  case $verb in task) task $rest ;; esac
done
