package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.ServerSocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * The background process of a running instance ({@code limactl hostagent NAME}). It boots the guest, waits until it is
 * ready, keeps the forwards, and tells all that as JSON events on its stdout, which is ha.stdout.log. SIGTERM makes it
 * shut the guest down. The guest outlives it when it is killed, as a real one does.
 */
final class HostAgent {
    private static final int TRIES = 200;
    private static final int BETWEEN_TRIES = 3000;

    private final Instance instance;
    private final Config config;
    private final Guest guest;
    private final boolean progress;
    private int sshPort;
    private Process booted;
    private volatile boolean exiting;

    HostAgent(Instance instance, boolean progress) {
        this.instance = instance;
        this.progress = progress;
        this.config = instance.config();
        this.guest = new Guest(instance, config);
    }

    void run() {
        Faults.at("agent");
        claim();
        listen();
        Faults.at("driver");
        sshPort = choosePort();
        writeSshConfig();
        Runtime.getRuntime().addShutdownHook(new Thread(this::shutDown));
        Log.info("Starting the stand-in's guest (hint: to watch the boot progress, see `" + instance.file("serial*.log")
                + "`)");
        if (MountQuirks.stopsQemu(config)) {
            throw new Fatal("Driver stopped due to error: exit status 1: Invalid parameter");
        }
        booted = guest.boot(sshPort);
        Sh.write(instance.file("qemu.pid"), guest.driverPid(booted) + "\n", "rw-------");
        event(Map.of("sshLocalPort", sshPort));
        Monitor.open(instance);
        Faults.at("booted");
        inBackground(this::becomeReady);
        if (progress) {
            inBackground(this::tellProgress);
        }
        waitForGuest();
        if (!exiting) {
            Log.info("The guest has shut down");
            System.exit(0);
        }
    }

    /** Two at once: the loser ends here, but has already replaced the winner's log files (see {@link Start}). */
    private void claim() {
        long other = instance.pid("ha.pid");
        if (other != 0) {
            throw new Fatal("another hostagent may already be running with pid " + other + " (hint: remove `"
                    + instance.file("ha.pid") + "` if this is not actually running)");
        }
        Sh.write(instance.file("ha.pid"), ProcessHandle.current().pid() + "\n", "rw-r--r--");
    }

    private void listen() {
        Path socket = instance.file("ha.sock");
        try {
            Files.deleteIfExists(socket);
            if (Faults.wanted("agent", "dumb")) {
                return;
            }
            ServerSocketChannel channel = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
            channel.bind(UnixDomainSocketAddress.of(socket));
            inBackground(() -> {
                while (true) {
                    try {
                        channel.accept().close();
                    } catch (ClosedChannelException e) {
                        return;
                    } catch (IOException e) {
                        Log.error("accept: " + e); // one caller that went away; the next one is to be answered
                    }
                }
            });
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        Log.info("hostagent socket created at " + socket);
    }

    private int choosePort() {
        int fixed = Maps.number(config.ssh(), "localPort", 0);
        if (fixed != 0) {
            return fixed;
        }
        try (ServerSocket any = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return any.getLocalPort();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void writeSshConfig() {
        List<String> lines = new ArrayList<>(List.of(
                "# This SSH config file can be passed to 'ssh -F'.",
                "# This file is created by Lima, but not used by Lima itself currently.",
                "# Modifications to this file will be lost on restarting the Lima instance.",
                "Host " + Instance.hostname(instance.name),
                "  IdentityFile \"" + Home.identity() + "\"",
                "  StrictHostKeyChecking no",
                "  UserKnownHostsFile /dev/null",
                "  NoHostAuthenticationForLocalhost yes",
                "  PreferredAuthentications publickey",
                "  Compression no",
                "  BatchMode yes",
                "  IdentitiesOnly yes",
                "  GSSAPIAuthentication no",
                "  Ciphers \"^aes128-gcm@openssh.com,aes256-gcm@openssh.com\"",
                "  User " + guest.user(),
                "  ControlMaster auto",
                "  ControlPath \"" + instance.file("ssh.sock") + "\"",
                "  ControlPersist yes"));
        if (Maps.flag(config.ssh(), "forwardAgent", false)) {
            lines.add("  ForwardAgent yes");
        }
        lines.add("  Hostname 127.0.0.1");
        lines.add("  Port " + sshPort);
        Sh.write(instance.file("ssh.config"), String.join("\n", lines) + "\n", "rw-------");
    }

    // --- readiness ---

    private void becomeReady() {
        List<String> errors = new ArrayList<>();
        try {
            essential(1, "ssh", "true");
            terminal();
            essential(2, "user session is ready for ssh", "test -e $STANDIN_RUN/lima-ssh-ready");
            essential(3, "Explicitly start ssh ControlMaster", null);
            forward();
            List<Map<String, Object>> probes = config.probes();
            for (int i = 0; i < probes.size(); i++) {
                probe(i + 1, probes.size(), probes.get(i), errors);
            }
            await("boot scripts must have finished", 1, 1, "final", "test -e $STANDIN_RUN/lima-boot-done");
        } catch (Fatal e) {
            errors.add(e.getMessage());
        }
        if (Faults.wanted("start", "degraded")) {
            errors.add("failed to satisfy the optional requirement 1 of 1: as the stand-in was told to");
        }
        if (exiting || Faults.wanted("start", "probe-never")) {
            return;
        }
        Map<String, Object> status = new LinkedHashMap<>();
        status.put("running", true);
        if (!errors.isEmpty()) {
            status.put("degraded", true);
            status.put("errors", errors);
        }
        status.put("sshLocalPort", sshPort);
        event(status);
    }

    private void essential(int number, String what, String command) {
        if (command != null) {
            await(what, number, 3, "essential", command);
            return;
        }
        Log.info("Waiting for the essential requirement " + number + " of 3: `" + what + "`");
        Sh.Result result = ssh(List.of("-MNf"), null);
        if (result.code() != 0) {
            throw new Fatal("failed to satisfy the essential requirement " + number + " of 3 `" + what + "`: "
                    + result.output().strip());
        }
        Log.info("The essential requirement " + number + " of 3 is satisfied");
    }

    /** Tries a command in the guest until it succeeds; quickly at first, for a stand-in boots in a second. */
    private void await(String what, int number, int of, String kind, String command) {
        Log.info("Waiting for the " + kind + " requirement " + number + " of " + of + ": `" + what + "`");
        for (int i = 0; i < TRIES && !exiting; i++) {
            Log.debug("executing script `" + what + "`");
            Sh.Result result = ssh(List.of(), command);
            if (result.code() == 0) {
                Log.info("The " + kind + " requirement " + number + " of " + of + " is satisfied");
                return;
            }
            Log.debug("failed to execute script `" + what + "`: "
                    + result.output().strip() + ": exit status " + result.code());
            pause(i < 40 ? 50 + i * 10 : BETWEEN_TRIES);
        }
        throw new Fatal("failed to satisfy the " + kind + " requirement " + number + " of " + of + " `" + what + "`");
    }

    /** A probe's description and hint are told nowhere but in the event after its 200 tries. */
    private void probe(int number, int of, Map<String, Object> probe, List<String> errors) {
        String description = Maps.text(probe, "description", "");
        try {
            await(description, number, of, "optional", script(Maps.text(probe, "script", "")));
        } catch (Fatal e) {
            errors.add(e.getMessage() + ": " + Maps.text(probe, "hint", "") + ": exit status 1");
        }
    }

    /** A script as a command: what its first line names, reading it, with the template's parameters. */
    private String script(String text) {
        String first = text.lines().findFirst().orElse("");
        String interpreter = first.startsWith("#!") ? first.substring(2).strip() : "/bin/sh";
        StringBuilder command = new StringBuilder("env");
        config.param().forEach((key, value) -> command.append(" PARAM_" + key + "=" + Sh.quote(value.toString())));
        return command + " " + interpreter + " -c " + Sh.quote(text);
    }

    /** Without a terminal most of what the project does cannot be tried, so its lack is an error. */
    private void terminal() {
        Sh.Result tty = ssh(List.of("-tt"), "tty");
        if (!tty.output().contains("/dev/")) {
            throw new Fatal("stand-in: the guest's sshd gives no terminal here: "
                    + tty.output().strip());
        }
    }

    /** Runs ssh as Lima does. Only the master itself, {@code -MNf}, uses the instance's control socket. */
    private Sh.Result ssh(List<String> options, String command) {
        List<String> line = new ArrayList<>(
                List.of("ssh", "-F", instance.file("ssh.config").toString(), "-o", "LogLevel=ERROR"));
        if (command != null) {
            line.addAll(List.of("-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ControlPersist=no"));
        }
        line.addAll(options);
        line.add(Instance.hostname(instance.name));
        if (command != null) {
            line.add("--");
            line.add(command);
        }
        // A master that went to the background holds the pipe: its output goes nowhere.
        return command != null ? Sh.tryRun(line) : new Sh.Result(Sh.quiet(line), "");
    }

    /** The guest's boot log, line by line, as events. */
    private void tellProgress() {
        int told = 0;
        while (!exiting) {
            List<String> lines = Sh.readOr(instance.file("serial.log"), "").lines().toList();
            for (String line : lines.subList(told, lines.size())) {
                event(Map.of("cloudInitProgress", Map.of("logLine", line, "active", true)));
            }
            told = lines.size();
            pause(100);
        }
    }

    static void inBackground(Runnable work) {
        Thread thread = new Thread(work);
        thread.setDaemon(true);
        thread.start();
    }

    // --- forwards ---

    /**
     * Sockets, over the ssh master, and ports whose number differs: the guest has the host's network, so that all others
     * are there already. A failure is a warning in the log, as with Lima.
     */
    private void forward() {
        for (Map<String, Object> rule : config.portForwards()) {
            String guestSocket = Maps.text(rule, "guestSocket", "");
            String hostSocket = Maps.text(rule, "hostSocket", "");
            int guestPort = Maps.number(rule, "guestPort", 0);
            int hostPort = Maps.number(rule, "hostPort", guestPort);
            if (Maps.flag(rule, "ignore", false)) {
                continue;
            }
            if (!guestSocket.isEmpty() && !hostSocket.isEmpty()) {
                forwardSocket(Path.of(hostSocket), guestSocket);
            } else if (guestPort != 0 && guestPort != hostPort) {
                openForward("127.0.0.1:" + hostPort + ":127.0.0.1:" + guestPort);
            }
        }
    }

    private void forwardSocket(Path hostSocket, String guestSocket) {
        Log.info("Forwarding `" + guestSocket + "` (guest) to `" + hostSocket + "` (host)");
        try {
            Files.createDirectories(hostSocket.getParent());
            Files.deleteIfExists(hostSocket);
        } catch (IOException e) {
            Log.warn(
                    "failed to set up forward from `" + guestSocket + "` (guest) to `" + hostSocket + "` (host): " + e);
            return;
        }
        openForward(hostSocket + ":" + guestSocket);
    }

    private void openForward(String forward) {
        Sh.Result result = Sh.tryRun(
                "ssh", "-F", instance.file("ssh.config").toString(), "-o", "LogLevel=ERROR", "-O", "forward", "-L",
                forward, Instance.hostname(instance.name));
        if (result.code() != 0) {
            Log.warn("failed to set up forward " + forward + ": "
                    + result.output().strip());
        }
    }

    // --- the end ---

    private void waitForGuest() {
        try {
            booted.waitFor();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private synchronized void shutDown() {
        exiting = true;
        if (booted != null) {
            if (booted.isAlive()) {
                Log.info("Shutting down the guest");
                powerOff();
            }
            Faults.at("shutdown");
            Sh.tryRun(
                    "ssh", "-F", instance.file("ssh.config").toString(), "-O", "exit",
                    Instance.hostname(instance.name));
            removeHostSockets();
            event(Map.of("exiting", true));
        }
        removeRuntimeFiles(instance, false);
    }

    private void powerOff() {
        List<ProcessHandle> processes = booted.descendants().toList();
        try {
            OutputStream button = booted.getOutputStream();
            button.write("poweroff\n".getBytes(StandardCharsets.UTF_8));
            button.flush();
            if (!booted.waitFor(10, TimeUnit.SECONDS)) {
                booted.destroyForcibly();
            }
        } catch (IOException e) {
            booted.destroyForcibly();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        // Where the guest has no process table of its own, its processes do not end with the first one.
        processes.forEach(ProcessHandle::destroyForcibly);
    }

    private void removeHostSockets() {
        for (Map<String, Object> rule : config.portForwards()) {
            String socket = Maps.text(rule, "hostSocket", "");
            if (!socket.isEmpty()) {
                Sh.remove(Path.of(socket));
            }
        }
    }

    /** Removes *.pid, *.sock and *.tmp, as {@code stop -f} does; loudly when that is the command. */
    static void removeRuntimeFiles(Instance instance, boolean loudly) {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(instance.directory, "*.{pid,sock,tmp}")) {
            List<Path> sorted = new ArrayList<>();
            files.forEach(sorted::add);
            sorted.sort(null);
            for (Path file : sorted) {
                if (loudly) {
                    Log.info("Removing `" + file + "`");
                }
                Files.deleteIfExists(file);
            }
        } catch (IOException e) {
            Log.error(e.toString());
        }
    }

    private static synchronized void event(Map<String, ?> status) {
        Map<String, Object> event = new LinkedHashMap<>();
        event.put("time", Instant.now().toString());
        event.put("status", status);
        System.out.println(Json.write(event));
        System.out.flush();
    }

    static void pause(long milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new Fatal("interrupted");
        }
    }
}
