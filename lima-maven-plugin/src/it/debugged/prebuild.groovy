// On this computer, beside the build: a debugger that comes again until it is let in.
new ProcessBuilder('sh', '-c', '''
    for try in $(seq 200); do
        { sleep 1; echo 'stop at One:4'; sleep 1; echo cont; sleep 2; echo 'print word'; sleep 1; echo cont; sleep 1; } |
            jdb -attach 127.0.0.1:15005 >jdb.log 2>&1
        ! grep -q 'Breakpoint hit' jdb.log || exit 0
    done
    ''').directory(basedir).start()
return true
