package dev.limasandbox.testbed;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Starting a stopped instance and stopping a running one: the life of its host agent, seen from outside. */
final class Start {
    static final Duration TIMEOUT = Duration.ofMinutes(10);
    private static final Duration AGENT_PID = Duration.ofSeconds(5);

    private Start() {}

    /** Boots and waits for the event {@code running}. Ends with 0 at once for one that runs, even if it still boots. */
    static void start(Instance instance, Duration timeout, boolean progress) {
        Instance.State state = instance.state();
        if (!state.errors().isEmpty()) {
            throw new Fatal("errors inspecting instance: " + state.errors());
        }
        if (state.status().equals("Running")) {
            Log.info("The instance `" + instance.name + "` is already running. Run `limactl shell " + instance.name
                    + "` to open the shell.");
            return;
        }
        if (!state.status().equals("Stopped")) {
            Log.warn("expected status `Stopped`, got `" + state.status() + "`");
        }
        Config config = instance.config();
        Log.info("Starting the instance `" + instance.name + "` with internal VM driver `" + config.text("vmType")
                + "`");
        config.validate(Sh.read(instance.yaml()));
        if (!Files.exists(instance.file("disk"))) {
            Disk.make(instance, config);
        }
        Disk.grow(instance, config.bytes("disk"));
        Faults.at("start");
        Process agent = launch(instance, progress);
        waitForPid(instance, agent);
        watch(instance, agent, timeout);
        Log.info("READY. Run `limactl shell " + instance.name + "` to open the shell.");
        String message = config.message();
        if (!message.isEmpty()) {
            Log.info("Message from the instance `" + instance.name + "`:");
            System.err.println(message);
        }
    }

    /**
     * The log files are removed and made anew before anybody looks whether another host agent writes into them: the
     * reason why of two concurrent starts one hangs and a later stop fails (seen on 2.2.0).
     */
    private static Process launch(Instance instance, boolean progress) {
        try {
            File out = instance.file("ha.stdout.log").toFile();
            File err = instance.file("ha.stderr.log").toFile();
            Files.deleteIfExists(out.toPath());
            Files.deleteIfExists(err.toPath());
            Files.createFile(out.toPath());
            Files.createFile(err.toPath());
            List<String> command = new ArrayList<>(ownSession());
            command.addAll(List.of(
                    System.getProperty("standin.limactl", "limactl"), "hostagent", "--log-level", "debug",
                    "--log-format", "json", "--progress=" + progress, instance.name));
            return new ProcessBuilder(command)
                    .redirectInput(new File("/dev/null"))
                    .redirectOutput(ProcessBuilder.Redirect.appendTo(out))
                    .redirectError(ProcessBuilder.Redirect.appendTo(err))
                    .start();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Ctrl-C in the terminal of {@code limactl start} must not reach the host agent. */
    private static List<String> ownSession() {
        return Sh.find("setsid") != null
                ? List.of("setsid")
                : List.of("perl", "-e", "use POSIX; POSIX::setsid(); exec @ARGV");
    }

    private static void waitForPid(Instance instance, Process agent) {
        long deadline = System.nanoTime() + AGENT_PID.toNanos();
        while (instance.hostAgentPid() == 0) {
            if (!agent.isAlive()) {
                throw new Fatal("host agent process has exited: exit status " + agent.exitValue());
            }
            if (System.nanoTime() > deadline) {
                throw new Fatal("hostagent (`" + instance.file("ha.pid") + "`) did not start up in 5s");
            }
            HostAgent.pause(10);
        }
    }

    private static void watch(Instance instance, Process agent, Duration timeout) {
        long deadline = System.nanoTime() + timeout.toNanos();
        Tail events = new Tail(instance.file("ha.stdout.log"));
        Tail logs = new Tail(instance.file("ha.stderr.log"));
        while (true) {
            boolean alive = agent.isAlive();
            logs.lines().forEach(Start::relay);
            for (String line : events.lines()) {
                Map<String, Object> status = Maps.map(Yaml.readMap(line), "status");
                if (status.containsKey("sshLocalPort") && !status.containsKey("running")) {
                    Log.info("SSH Local Port: " + status.get("sshLocalPort"));
                }
                if (Maps.flag(status, "exiting", false)) {
                    throw new Fatal("exiting, status=" + Json.write(status) + " (hint: see `"
                            + instance.file("ha.stderr.log") + "`)");
                }
                if (Maps.flag(status, "degraded", false)) {
                    throw new Fatal("degraded, status=" + Json.write(status));
                }
                if (Maps.flag(status, "running", false)) {
                    logs.lines().forEach(Start::relay);
                    return;
                }
            }
            if (!alive) {
                throw new Fatal("host agent process has exited: exit status " + agent.exitValue());
            }
            if (System.nanoTime() > deadline) {
                throw new Fatal("did not receive an event with the `running` status");
            }
            HostAgent.pause(20);
        }
    }

    /** The host agent's own lines, from info upwards. */
    private static void relay(String line) {
        Matcher level = Pattern.compile("\"level\":\"(\\w+)\"").matcher(line);
        if (!line.startsWith("{") || !level.find()) {
            Log.info("[hostagent] " + line);
            return;
        }
        String word = level.group(1).equals("fatal") ? "error" : level.group(1);
        Log.write(word, "[hostagent] " + Maps.text(Yaml.readMap(line), "msg", ""), Map.of());
    }

    /**
     * Asks the host agent to shut down and waits for its last event. Where that event was written into a deleted log,
     * the instance is down all the same, but this fails (after 190 s on Lima, sooner here).
     */
    static void stop(Instance instance) {
        instance.requireStatus("Running", "", " (maybe use `limactl stop -f`?)");
        if (!Faults.wanted("stop", "fail")) {
            Faults.at("stop");
        }
        Tail events = new Tail(instance.file("ha.stdout.log"));
        events.lines();
        long pid = instance.hostAgentPid();
        Log.info("Sending SIGINT to hostagent process " + pid);
        boolean deaf = Faults.wanted("stop", "fail");
        ProcessHandle.of(pid).ifPresent(ProcessHandle::destroy);
        Log.info("Waiting for hostagent process to exit");
        boolean seen = false;
        while (Sh.isAlive(pid)) {
            HostAgent.pause(20);
        }
        for (String line : events.lines()) {
            seen |= !deaf && Maps.flag(Maps.map(Yaml.readMap(line), "status"), "exiting", false);
        }
        if (!seen) {
            throw new Fatal("did not receive an event with the `exiting` status");
        }
    }

    /** Pulls the plug. Never fails for an existing instance. */
    static void stopForcibly(Instance instance) {
        kill(instance.driverPid(), "qemu driver");
        kill(instance.hostAgentPid(), "host agent");
        Log.info("Removing *.pid *.sock *.tmp under `" + instance.directory + "`");
        HostAgent.removeRuntimeFiles(instance, true);
    }

    private static void kill(long pid, String what) {
        if (pid == 0) {
            Log.info("The " + what + " process seems already stopped");
            return;
        }
        Log.info("Sending SIGKILL to the " + what + " process " + pid);
        ProcessHandle.of(pid).ifPresent(process -> {
            List<ProcessHandle> below = process.descendants().toList();
            process.destroyForcibly();
            below.forEach(ProcessHandle::destroyForcibly);
            for (int i = 0; i < 200 && Sh.isAlive(pid); i++) {
                HostAgent.pause(10);
            }
        });
    }

    /** Reads what was appended to a file since the last look; a file that is replaced is not noticed. */
    private static final class Tail {
        private final Path file;
        private int read;

        Tail(Path file) {
            this.file = file;
        }

        List<String> lines() {
            String text = Sh.readOr(file, "");
            int end = text.lastIndexOf('\n') + 1;
            if (end <= read) {
                return List.of();
            }
            String more = text.substring(read, end);
            read = end;
            return more.lines().toList();
        }
    }
}
