package dev.limasandbox.testbed;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;

/** One directory under Lima's home, and what can be read from it. */
final class Instance {
    final String name;
    final Path directory;

    private Instance(String name) {
        this.name = name;
        this.directory = Home.directory().resolve(name);
    }

    static Instance named(String name) {
        return new Instance(name);
    }

    /** An instance that has a lima.yaml; else Lima's error, which is that of opening the file. */
    static Instance existing(String name) {
        Home.checkName(name);
        Instance instance = new Instance(name);
        if (!Files.exists(instance.yaml())) {
            throw new Fatal("open " + instance.yaml() + ": no such file or directory");
        }
        return instance;
    }

    boolean exists() {
        return Files.isDirectory(directory);
    }

    Path file(String name) {
        return directory.resolve(name);
    }

    Path yaml() {
        return file("lima.yaml");
    }

    static String hostname(String name) {
        return "lima-" + name.replace('.', '-').replace('_', '-');
    }

    Config config() {
        return Config.load(directory, Sh.read(yaml()));
    }

    boolean isProtected() {
        return Files.exists(file("protected"));
    }

    /** The process named in a pid file if it lives, else 0; a stale file is removed, by {@code list} too. */
    long pid(String file) {
        String text = Sh.readOr(file(file), "").strip();
        if (!text.matches("\\d+")) {
            return 0;
        }
        long pid = Long.parseLong(text);
        if (Sh.isAlive(pid)) {
            return pid;
        }
        try {
            Files.deleteIfExists(file(file));
        } catch (IOException ignored) {
            // Somebody else removed it.
        }
        return 0;
    }

    long hostAgentPid() {
        return pid("ha.pid");
    }

    /** The driver's pid file bears the driver's name. */
    long driverPid() {
        long pid = pid("qemu.pid");
        return pid != 0 ? pid : pid("vz.pid");
    }

    record State(String status, List<String> errors) {}

    /**
     * Broken while the host agent runs without the driver (also for a moment of every start) or the other way round, or
     * when the host agent's socket does not answer; a reused pid is not noticed.
     */
    State state() {
        if (!Files.exists(yaml())) {
            return new State("Broken", List.of());
        }
        List<String> errors = new ArrayList<>();
        boolean agent = hostAgentPid() != 0;
        boolean driver = driverPid() != 0;
        String status = agent && driver ? "Running" : !agent && !driver ? "Stopped" : "Broken";
        if (agent && !driver) {
            errors.add("host agent is running but driver is not");
        }
        if (driver && !agent) {
            errors.add("driver is running but host agent is not");
        }
        if (agent && !hostAgentAnswers()) {
            status = "Broken";
            errors.add("failed to connect to `" + file("ha.sock") + "`");
        }
        return new State(status, errors);
    }

    private boolean hostAgentAnswers() {
        for (int attempt = 0; attempt < 10; attempt++) { // Lima, too, does not give up at once: it dials for 3 s
            try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
                return channel.connect(UnixDomainSocketAddress.of(file("ha.sock")));
            } catch (IOException e) {
                LockSupport.parkNanos(100_000_000);
            }
        }
        return false;
    }

    String status() {
        return state().status();
    }

    /** Status "Running", or Lima's error. */
    void requireStatus(String wanted, String context, String hint) {
        String status = status();
        if (!status.equals(wanted)) {
            throw new Fatal(context + "expected status `" + wanted + "`, got `" + status + "`" + hint);
        }
    }

    /** All fields, the empty ones too: what a Go template of {@code list --format} can name. */
    Map<String, Object> fields() {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("name", name);
        fields.put("hostname", hostname(name));
        State state = state();
        fields.put("status", state.status());
        fields.put("dir", directory.toString());
        if (!Files.exists(yaml())) {
            fields.put("hostname", "");
            for (String key : List.of("vmType", "arch", "limaVersion", "HostOS", "HostArch", "LimaHome",
                    "IdentityFile")) {
                fields.put(key, "");
            }
            fields.put("protected", isProtected());
            return fields;
        }
        Config config = config();
        boolean running = hostAgentPid() != 0;
        fields.put("vmType", config.text("vmType"));
        fields.put("arch", config.text("arch"));
        fields.put("cpus", config.cpus());
        fields.put("memory", config.bytes("memory"));
        fields.put("disk", config.bytes("disk"));
        fields.put("message", config.message());
        fields.put("network", config.shown().getOrDefault("networks", List.of()));
        fields.put("sshLocalPort", running ? sshPort() : Maps.number(config.ssh(), "localPort", 0));
        fields.put("sshConfigFile", file("ssh.config").toString());
        fields.put("hostAgentPID", hostAgentPid());
        fields.put("driverPID", driverPid());
        fields.put("errors", state.errors().stream().map(text -> Map.of()).toList());
        fields.put("config", config.shown());
        fields.put("sshAddress", "127.0.0.1");
        fields.put("protected", isProtected());
        fields.put("limaVersion", Sh.readOr(file("lima-version"), "").strip());
        fields.put("param", config.param());
        fields.put("HostOS", Home.MAC ? "darwin" : "linux");
        fields.put("HostArch", Home.arch());
        fields.put("LimaHome", directory.getParent().toString());
        fields.put("IdentityFile", Home.identity().toString());
        return fields;
    }

    /** The fields that {@code {{json .}}} shows; the others only if they are set. */
    static Map<String, Object> shown(Map<String, Object> fields) {
        Map<String, Object> shown = new LinkedHashMap<>(fields);
        shown.entrySet()
                .removeIf(field -> !List
                        .of("name", "hostname", "status", "dir", "vmType", "arch", "protected", "limaVersion")
                        .contains(field.getKey())
                        && (field.getValue().equals("")
                                || field.getValue().equals(0)
                                || field.getValue().equals(0L)
                                || field.getValue().equals(List.of())
                                || field.getValue().equals(Map.of())));
        return shown;
    }

    private int sshPort() {
        for (String line : Sh.readOr(file("ssh.config"), "").split("\n")) {
            if (line.strip().startsWith("Port ")) {
                return Integer.parseInt(line.strip().substring(5));
            }
        }
        return 0;
    }
}
