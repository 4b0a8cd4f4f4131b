# Read by the boot script that the stand-in writes for each boot: what a guest's first process does.
# All that it prints becomes serial.log.

say() { echo "LIMA $(date -u +%Y-%m-%dT%H:%M:%SZ)| $*"; }

failed=
log=/var/log/sandbox.log
[ "$STANDIN_RUN" = /run ] || log=$STANDIN_RUN/sandbox.log

begin() {
    # All output is cloud-init's, which keeps it in a log; where a script failed is written nowhere else.
    console=$STANDIN_RUN/console
    rm -f "$console"
    if : 2>/dev/null >>/var/log/cloud-init-output.log && mkfifo "$console"; then
        tee -a /var/log/cloud-init-output.log <"$console" &
        exec >"$console" 2>&1
    fi
    echo "Cloud-init (pretended) running 'init-local'"
    mkdir -p "$XDG_RUNTIME_DIR"
    echo $$ >"$STANDIN_RUN/standin-init.pid"
    chmod 700 "$XDG_RUNTIME_DIR"
    exec 3<&0 </dev/null
    # The host agent's way to press the power button. Its death is not ours.
    while read -r word <&3; do
        [ "$word" != poweroff ] || kill -TERM $$
    done &
    exec 3<&-
    trap power_off TERM
    touch /var/lib/standin-booted 2>/dev/null
    if [ -n "$NO_SSH" ]; then
        say "Failed to start: invalid cloud-config or fstab, emergency mode"
        while :; do sleep 60 & wait $!; done
    fi
    "$SSHD" -D -e -f "$STANDIN_CIDATA/sshd_config" &
    sshd=$!
    if [ -n "$AGENT_SANDBOX" ]; then
        mkdir -p "$STANDIN_RUN/sandbox"
    fi
    echo "$$" >"$STANDIN_RUN/lima-ssh-ready"
}

power_off() {
    trap '' TERM
    say "Powering off"
    if [ -n "$PRIVATE_PIDS" ]; then
        kill -TERM -1 2>/dev/null
        sleep 0.2
    else
        kill -TERM "$sshd" 2>/dev/null
    fi
    exit 0
}

# A script in the background, so that the power button works meanwhile.
run() {
    mode=$1 script=$STANDIN_CIDATA/$2
    say "Executing $script"
    (
        case $mode in
        user)
            cd "$LIMA_CIDATA_HOME" || exit 1
            export HOME="$LIMA_CIDATA_HOME" USER="$LIMA_CIDATA_USER" LOGNAME="$LIMA_CIDATA_USER"
            ;;
        *)
            cd /
            export HOME=/root USER=root LOGNAME=root
            ;;
        esac
        exec "$script"
    ) &
    wait $! || fail "$2" $?
}

fail() {
    say "WARNING: Failed to execute $STANDIN_CIDATA/$1"
    [ -n "$failed" ] || failed="$1 $2"
}

data() {
    say "Creating $2"
    if [ "$4" = false ] && [ -e "$2" ]; then
        return
    fi
    { mkdir -p "$(dirname "$2")" && cat "$STANDIN_CIDATA/$1" >"$2" && chmod "$3" "$2"; } || fail "$1" $?
}

taken_as_done() {
    say "Taken as done by the stand-in: $STANDIN_CIDATA/$1"
    [ -z "$AGENT_SANDBOX" ] || echo "taken as done by the stand-in: $1" >>"$log"
}

docker_socket() {
    if command -v perl >/dev/null; then
        perl "$STANDIN_CIDATA/dockerd.pl" "$1" &
    fi
}

finish() {
    if [ -n "$AGENT_SANDBOX" ]; then
        if [ -z "$failed" ] && [ ! -e "$STANDIN_RUN/sandbox/failed" ]; then
            [ -e "$STANDIN_RUN/sandbox/ready" ] || echo "agent-sandbox $AGENT_SANDBOX" >"$STANDIN_RUN/sandbox/ready"
        else
            [ -e "$STANDIN_RUN/sandbox/failed" ] || echo "$failed" >"$STANDIN_RUN/sandbox/failed"
        fi
    fi
    echo "$$" >"$STANDIN_RUN/lima-boot-done"
    say "Exiting with code 0"
    while :; do
        wait "$sshd"
        kill -0 "$sshd" 2>/dev/null || { sleep 1 & wait $!; } # a guest whose sshd was killed runs on
    done
}
