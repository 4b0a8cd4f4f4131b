///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION The Docker of a sandbox, from this computer: contexts and DOCKER_HOST.
//JAVA 17+
//DEPS info.picocli:picocli:4.7.7
//DEPS com.fasterxml.jackson.dataformat:jackson-dataformat-yaml:2.23.0
package dev.limasandbox;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * {@code docker-context create|use|list|env|remove}: the Docker daemon inside a sandbox, for programs on this computer.
 * Each verb is a method; {@link Daemon} is the daemon of one sandbox and its socket here, {@link Contexts} what the docker
 * CLI has on record.
 */
@Command(
        name = "docker-context",
        synopsisSubcommandLabel = "VERB",
        description = {
                "The Docker of a sandbox, from this computer.", "",
                "As a context lima-NAME of the docker CLI, or by DOCKER_HOST, for which no docker",
                "CLI is needed.",
                "",
                "NAME is the sandbox, '.' that of this directory.%n"
        },
        commandListHeading = "Verbs:%n",
        footer = {
                "",
                "Examples:",
                "  docker-context use myapp                then 'docker ps' shows its containers",
                "  docker-context create --all             then docker --context lima-myapp ps",
                "  eval \"$(docker-context env myapp)\"      for this shell only",
                "  docker-context env myapp --shell fish | source",
                "  docker-context remove --all",
                "",
                "'docker-context VERB --help' tells more of each.",
                "Exit codes: 0, 125 for failures, 2 for usage."
        })
class DockerContext {
    @Option(names = {"-h", "--help"}, usageHelp = true, scope = CommandLine.ScopeType.INHERIT,
            description = "Show this help.")
    boolean help;

    private final Caller caller;
    private final Lima lima;

    DockerContext(Caller caller) {
        this.caller = caller;
        lima = new Lima(caller.env);
    }

    /** Runs one command line and ends the process with its exit code. */
    public static void main(String[] args) {
        Caller caller = Caller.ofThisProcess("docker-context");
        System.exit(caller.run(new DockerContext(caller), args));
    }

    // ----------------------------------------------------------------------------------------------------------- verbs

    @Command(name = "create", description = "Makes the contexts lima-NAME; one that is right stays as it is.",
            footer = {"", "Examples:", "  docker-context create myapp", "  docker-context create --all"})
    int create(
            @Parameters(paramLabel = "NAME", arity = "0..*",
                    description = "Sandboxes; '.' is this directory's.") List<String> names,
            @Option(names = "--all", description = "All sandboxes of this tool.") boolean all) {
        Contexts contexts = new Contexts();
        List<Daemon> daemons = daemons(names, all);
        contexts.prune();
        daemons.forEach(d -> {
            contexts.put(d);
            if (d.running()) {
                d.answering();
            }
        });
        return 0;
    }

    @Command(name = "use", description = "Makes the context lima-NAME if need be, and the docker CLI's current one.",
            footer = {"", "Back to what it was: docker context use default", "Example:", "  docker-context use myapp"})
    int use(@Parameters(paramLabel = "NAME", description = "The sandbox; '.' is this directory's.") String name) {
        Contexts contexts = new Contexts();
        Daemon daemon = daemons(List.of(name), false).get(0);
        contexts.prune();
        contexts.put(daemon);
        contexts.use(daemon.context());
        if (caller.env.containsKey("DOCKER_HOST")) {
            caller.say("DOCKER_HOST is set in this shell and wins over the context: unset DOCKER_HOST");
        }
        if (daemon.running()) {
            daemon.answering();
        } else {
            caller.say(daemon.name + " is not running; to start it: " + caller.sibling("sandboxes") + " start "
                    + daemon.name);
        }
        return 0;
    }

    @Command(name = "list", description = "Shows each sandbox, its context, and whether its Docker answers.",
            footer = {"", "Examples:", "  docker-context list", "  docker-context list --json"})
    int list(
            @Parameters(paramLabel = "NAME", arity = "0..*", description = "Only these.") List<String> names,
            @Option(names = "--json",
                    description = "As JSON: name, status, context, current, socket, docker.") boolean json) {
        List<Daemon> daemons = daemons(names, names == null);
        Map<String, JsonNode> contexts = Contexts.installed(lima) ? new Contexts().all() : Map.of();
        List<Map<String, Object>> rows = new ArrayList<>();
        for (Daemon d : daemons) {
            Map<String, Object> row = new LinkedHashMap<>();
            JsonNode context = contexts.get(d.context());
            row.put("name", d.name);
            row.put("status", d.instance.path("status").asText());
            row.put("context", context == null ? "" : d.context());
            row.put("current", context != null && context.path("Current").asBoolean());
            row.put("socket", d.socket.toString());
            row.put("docker", !d.running() ? "" : d.ping().orElse("does not answer"));
            rows.add(row);
        }
        if (json) {
            caller.out.println(rows.stream().map(r -> Lima.io(() -> Lima.Json.MAPPER.writeValueAsString(r)))
                    .collect(Collectors.joining(",\n ", "[", "]")));
            return 0;
        }
        int width = Stream.concat(Stream.of(4), daemons.stream().map(d -> d.name.length())).reduce(0, Integer::max);
        String line = "%-" + width + "s  %-8s  %-" + (width + 7) + "s  %s";
        caller.out.println(String.format(Locale.ROOT, line, "NAME", "STATUS", "CONTEXT", "DOCKER"));
        rows.forEach(r -> caller.out.println(String.format(Locale.ROOT, line, r.get("name"), r.get("status"),
                r.get("context").equals("") ? "-" : r.get("context") + ((boolean) r.get("current") ? " *" : ""),
                r.get("docker").equals("") ? "-" : r.get("docker"))));
        return 0;
    }

    @Command(name = "env", description = {
            "Prints the line that points a shell at the sandbox's Docker.",
            "", "It holds for all that is started from that shell, and needs no docker CLI."},
            footer = {"", "Examples:", "  eval \"$(docker-context env myapp)\"",
                    "  docker-context env myapp --shell fish | source"})
    int env(
            @Parameters(paramLabel = "NAME", description = "The sandbox; '.' is this directory's.") String name,
            @Option(names = "--shell", paramLabel = "SHELL",
                    description = "bash, zsh, sh or fish (default: what SHELL names).") String shell) {
        String which = shell != null ? shell : caller.env.getOrDefault("SHELL", "sh").replaceAll(".*/", "");
        if (shell != null && !shell.matches("bash|zsh|sh|fish")) {
            throw new Lima.Failure(2, "--shell is bash, zsh, sh or fish, not '" + shell + "'");
        }
        Daemon daemon = daemons(List.of(name), false).get(0);
        caller.running(daemon.instance);
        daemon.answering();
        caller.out.println(which.equals("fish") ? "set -gx DOCKER_HOST " + fish(daemon.endpoint())
                : "export DOCKER_HOST=" + Lima.quote(daemon.endpoint()));
        return 0;
    }

    /** fish knows two escapes within single quotes. */
    private static String fish(String word) {
        return "'" + word.replace("\\", "\\\\").replace("'", "\\'") + "'";
    }

    @Command(name = "remove", description = "Removes the contexts lima-NAME. The sandboxes stay as they are.",
            footer = {"", "Examples:", "  docker-context remove myapp", "  docker-context remove --all"})
    int remove(
            @Parameters(paramLabel = "NAME", arity = "0..*",
                    description = "Sandboxes, those that are gone too.") List<String> names,
            @Option(names = "--all", description = "All contexts of sandboxes.") boolean all) {
        Contexts contexts = new Contexts();
        if (all == (names != null)) {
            throw new Lima.Failure(2, "NAME or --all: one of them");
        }
        contexts.prune();
        Set<String> mine = contexts.mine();
        if (all) {
            mine.forEach(contexts::remove);
            return 0;
        }
        for (String name : names) {
            String context = "lima-" + (Caller.isPath(name) ? daemons(List.of(name), false).get(0).name : name);
            if (mine.contains(context)) {
                contexts.remove(context);
            } else {
                caller.say("there is no context " + context + " of a sandbox here");
            }
        }
        return 0;
    }

    // ------------------------------------------------------------------------------------------------------- sandboxes

    private List<Daemon> daemons(List<String> names, boolean all) {
        if (all == (names != null)) {
            throw new Lima.Failure(2, "NAME or --all: one of them");
        }
        List<JsonNode> instances = lima.list();
        return (all ? instances.stream().filter(Caller::ours)
                : names.stream().distinct().map(word -> caller.sandbox(word, instances))).map(Daemon::new).toList();
    }

    private static Stream<JsonNode> stream(JsonNode array) {
        return StreamSupport.stream(array.spliterator(), false);
    }

    /** The Docker daemon of one instance, and the socket by which it is reached here. */
    final class Daemon {
        final String name;
        final Path socket;
        private final JsonNode instance;
        private final String inGuest;

        Daemon(JsonNode instance) {
            name = instance.path("name").asText();
            this.instance = instance;
            JsonNode forward = stream(instance.path("config").path("portForwards"))
                    .filter(f -> f.path("guestSocket").asText().endsWith("docker.sock")).findFirst()
                    .orElseThrow(() -> new Lima.Failure(name + " forwards no Docker socket: its template has none"));
            inGuest = forward.path("guestSocket").asText();
            socket = Path.of(forward.path("hostSocket").asText());
        }

        boolean running() {
            return Caller.runs(instance);
        }

        String context() {
            return "lima-" + name;
        }

        String endpoint() {
            return "unix://" + socket;
        }

        /**
         * Makes sure that the daemon answers. Lima's forward dies for good with its ssh master, while the socket's file
         * stays and list says Running (seen on 2.2.0): then a forward of our own takes its place, until the VM stops.
         */
        void answering() {
            if (ping().isPresent()) {
                return;
            }
            Lima.Result guest = lima.ssh(name, Duration.ofMinutes(1), null,
                    "curl -s -m 20 --unix-socket " + Lima.quote(inGuest) + " http://docker/_ping");
            if (guest.code() != 0) {
                throw new Lima.Failure(
                        "Docker in " + name + " does not answer. Its log: " + caller.sibling("sandbox") + " "
                                + name + " journalctl --user -u docker -n 20");
            }
            if (ping().isPresent()) {
                return; // it was still being started
            }
            Lima.io(() -> Files.deleteIfExists(socket));
            List<String> call = new ArrayList<>(List.of("sh", "-c", "exec \"$@\" >/dev/null 2>&1", "sh"));
            List<String> ssh = lima.sshCommand(name, List.of("-S", "none", "-fN", "-o", "ExitOnForwardFailure=yes",
                    "-o", "StreamLocalBindUnlink=yes", "-o", "ServerAliveInterval=20", "-L", socket + ":" + inGuest));
            call.addAll(ssh);
            Lima.Result forward = lima.run(Duration.ofMinutes(2), null, call);
            if (forward.code() != 0 || ping().isEmpty()) {
                throw new Lima.Failure("Docker runs in " + name + ", but its socket could not be forwarded to " + socket
                        + ". Perhaps a restart helps: " + caller.sibling("sandboxes") + " restart " + name);
            }
            caller.say("the forward of " + name + "'s Docker socket was dead; made a new one");
        }

        /** What the daemon says of itself; empty without an answer within ten seconds. */
        Optional<String> ping() {
            try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
                CompletableFuture<String> answer = CompletableFuture.supplyAsync(() -> ask(channel));
                String text = answer.completeOnTimeout("", 10, TimeUnit.SECONDS).join();
                Matcher server = Pattern.compile("(?im)^server: *docker/([^ \r\n]+)").matcher(text);
                return !text.contains(" 200 ") ? Optional.empty()
                        : Optional.of("answers" + (server.find() ? ", " + server.group(1) : ""));
            } catch (IOException e) {
                return Optional.empty();
            }
        }

        private String ask(SocketChannel channel) {
            try {
                channel.connect(UnixDomainSocketAddress.of(socket));
                channel.write(UTF_8.encode("GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n"));
                ByteBuffer buffer = ByteBuffer.allocate(8192);
                while (channel.read(buffer) > 0 && buffer.hasRemaining()) {
                    // until it has said all
                }
                return UTF_8.decode(buffer.flip()).toString();
            } catch (IOException e) {
                return "";
            }
        }
    }

    // -------------------------------------------------------------------------------------------------- the docker CLI

    /** The contexts that the docker CLI has on record. Ours are those whose socket is one of an instance of this Lima. */
    final class Contexts {
        private final Map<String, JsonNode> all = new LinkedHashMap<>();

        Contexts() {
            if (!installed(lima)) {
                throw new Lima.Failure("the docker CLI was not found on the PATH. To install it: " + installation()
                        + "\nWithout it: eval \"$(" + caller.command + " env NAME)\"");
            }
            docker("context", "ls", "--format", "{{json .}}").lines().filter(l -> !l.isBlank())
                    .map(l -> Lima.io(() -> Lima.Json.MAPPER.readTree(l)))
                    .forEach(c -> all.put(c.path("Name").asText(), c));
        }

        static boolean installed(Lima lima) {
            return lima.which("docker").contains("/");
        }

        /** The CLI alone: a daemon on this computer is not needed. */
        private static String installation() {
            if (System.getProperty("os.name").startsWith("Mac")) {
                return "brew install docker";
            }
            Path release = Path.of("/etc/os-release");
            String text = Lima.io(() -> Files.exists(release) ? Files.readString(release) : "");
            return text.matches("(?s).*\\bID=\"?ubuntu\\b.*") ? "sudo apt install docker.io"
                    : text.matches("(?s).*\\bID(_LIKE)?=\"?[a-z ]*debian\\b.*") ? "sudo apt install docker-cli"
                            : text.matches("(?s).*\\bID(_LIKE)?=\"?[a-z ]*fedora\\b.*") ? "sudo dnf install docker-cli"
                                    : text.matches("(?s).*\\bID(_LIKE)?=\"?[a-z ]*arch\\b.*") ? "sudo pacman -S docker"
                                            : "https://docs.docker.com/engine/install/binaries/";
        }

        Map<String, JsonNode> all() {
            return all;
        }

        private String docker(String... words) {
            Map<String, String> whole = new TreeMap<>(caller.env);
            whole.remove("DOCKER_HOST"); // it would hide which context is current
            return Lima.io(() -> {
                List<String> call = new ArrayList<>(List.of(lima.which("docker")));
                call.addAll(List.of(words));
                ProcessBuilder builder = new ProcessBuilder(call);
                builder.environment().clear();
                builder.environment().putAll(whole);
                Process process = builder.start();
                var errors = CompletableFuture
                        .supplyAsync(() -> Lima.io(() -> process.getErrorStream().readAllBytes()));
                String text = new String(process.getInputStream().readAllBytes(), UTF_8);
                if (process.waitFor() != 0) {
                    throw new Lima.Failure("docker " + words[0] + " " + words[1] + " failed: "
                            + new String(errors.join(), UTF_8).strip());
                }
                return text;
            });
        }

        /** The names of those that point into this Lima's directory. */
        Set<String> mine() {
            return all.values().stream().filter(c -> c.path("Name").asText().startsWith("lima-")
                    && c.path("DockerEndpoint").asText().startsWith("unix://" + lima.home + "/"))
                    .map(c -> c.path("Name").asText()).collect(Collectors.toCollection(LinkedHashSet::new));
        }

        /** Removes those of instances that are no more. */
        void prune() {
            for (String context : mine()) {
                if (!Files.isDirectory(lima.home.resolve(context.substring("lima-".length())))) {
                    caller.say(context.substring("lima-".length()) + " is no more");
                    remove(context);
                }
            }
        }

        void put(Daemon daemon) {
            String context = daemon.context();
            JsonNode there = all.get(context);
            String host = "host=" + daemon.endpoint();
            if (there == null) {
                docker("context", "create", context, "--description", "The sandbox " + daemon.name, "--docker", host);
                caller.say("created the context " + context);
            } else if (!there.path("DockerEndpoint").asText().equals(daemon.endpoint())) {
                if (!mine().contains(context)) {
                    throw new Lima.Failure("there is a context " + context + " that is not of this tool, it points to "
                            + there.path("DockerEndpoint").asText() + "\nTo be rid of it: docker context rm "
                            + context);
                }
                docker("context", "update", context, "--docker", host);
                caller.say("updated the context " + context);
            } else {
                caller.say("the context " + context + " is there already");
            }
        }

        void use(String context) {
            docker("context", "use", context);
            caller.say("docker uses " + context + " from now on; back: docker context use default");
        }

        void remove(String context) {
            if (all.remove(context).path("Current").asBoolean()) {
                docker("context", "use", "default");
                caller.say("docker uses its default context again");
            }
            docker("context", "rm", context);
            caller.say("removed the context " + context);
        }
    }

    // --- Caller: the same text in every script that is told what it is for by a sandbox's name or directory ---
    /** Who calls: environment, directory, streams; how he is spoken to; and which sandbox a word of his means. */
    static final class Caller {
        final Map<String, String> env;
        final Path cwd;
        final PrintWriter out;
        final PrintWriter err;
        /** How he called us, so that hints can be pasted. */
        final String command;
        private final String script;

        Caller(String script, String command, Map<String, String> env, Path cwd, PrintWriter out, PrintWriter err) {
            this.script = script;
            this.command = command;
            this.env = env;
            this.cwd = cwd;
            this.out = out;
            this.err = err;
        }

        static Caller ofThisProcess(String script) {
            return new Caller(script, System.getProperty("sandbox.command", System.getenv("JBANG_LAUNCH_CMD") != null
                    ? "jbang " + script + ".java" : script), System.getenv(), Path.of("").toAbsolutePath(),
                    new PrintWriter(System.out, true, UTF_8), new PrintWriter(System.err, true, UTF_8));
        }

        /** Runs one command line; gives the exit code, and never throws for a failure of ours, which is told on err. */
        int run(Object program, String... args) {
            return new CommandLine(program).setOut(out).setErr(err)
                    .setColorScheme(CommandLine.Help.defaultColorScheme(CommandLine.Help.Ansi.OFF))
                    .setParameterExceptionHandler((e, a) -> {
                        CommandLine verb = e.getCommandLine();
                        say(e.getMessage());
                        err.print("Usage: " + verb.getHelp().synopsis(0));
                        say("'" + command + (verb.getParent() == null ? "" : " " + verb.getCommandName())
                                + " --help' tells more.");
                        return 2;
                    })
                    .setExecutionExceptionHandler((e, l, p) -> {
                        if (!(e instanceof Lima.Failure failure)) {
                            throw e;
                        }
                        say(failure.getMessage());
                        return failure.code;
                    }).execute(args);
        }

        void say(String text) {
            err.println(text.lines().map(line -> script + ": " + line.replaceAll("\\p{Cntrl}", " "))
                    .collect(Collectors.joining("\n")));
            err.flush();
        }

        /** Another script of this project, spelled as this one was; in a checkout the launcher itself is sandbox. */
        String sibling(String other) {
            return command.endsWith("sandbox " + script) && other.startsWith("sandbox")
                    ? command.substring(0, command.length() - script.length() - 1)
                    : command.replaceFirst("\\b" + script + "(?=$|@|\\.java)", other);
        }

        static boolean isPath(String word) {
            return word.matches("[.~/].*");
        }

        /** The instance, as limactl tells of it, that has a name, or the one of this tool that has a directory mounted. */
        JsonNode sandbox(String word, List<JsonNode> instances) {
            String name = isPath(word) ? covering(word, instances) : word;
            JsonNode is = instances.stream().filter(i -> i.path("name").asText().equals(name)).findFirst()
                    .orElseThrow(() -> new Lima.Failure(2, "there is no sandbox " + name));
            if (mark(is).contains("kind=base")) {
                throw new Lima.Failure(2, name + " is a base that sandboxes are cloned from, and never runs");
            }
            return is;
        }

        private String covering(String word, List<JsonNode> instances) {
            String home = env.getOrDefault("HOME", "/");
            Path typed = cwd.resolve(word.equals("~") || word.startsWith("~/") ? home + word.substring(1) : word);
            Path dir = Lima.io(() -> Files.isDirectory(typed) ? typed.toRealPath() : typed.normalize());
            List<String> found = instances.stream().filter(i -> ours(i) && sees(i, dir))
                    .map(i -> i.path("name").asText()).toList();
            if (found.size() != 1) {
                throw new Lima.Failure(2, found.isEmpty() ? "no sandbox has " + dir + " mounted; give its name"
                        : "several sandboxes have " + dir + " mounted, say which: " + String.join(", ", found));
            }
            return found.get(0);
        }

        private static String mark(JsonNode instance) {
            return instance.path("config").path("param").path("sandbox").asText();
        }

        static boolean ours(JsonNode instance) {
            return mark(instance).contains("kind=sandbox");
        }

        static boolean sees(JsonNode instance, Path dir) {
            return mounts(instance).anyMatch(dir::startsWith);
        }

        /** The directories that it has mounted; sandbox mounts one with an odd name by a link to it. */
        static Stream<Path> mounts(JsonNode instance) {
            return StreamSupport.stream(instance.path("config").path("mounts").spliterator(), false)
                    .map(m -> Path.of(m.path("location").asText()))
                    .map(p -> Lima.io(() -> Files.isSymbolicLink(p) && Files.exists(p) ? p.toRealPath() : p));
        }

        static boolean runs(JsonNode instance) {
            return instance.path("status").asText().equals("Running");
        }

        /** The name of an instance, which must run. */
        String running(JsonNode instance) {
            String name = instance.path("name").asText();
            if (!runs(instance)) {
                throw new Lima.Failure(name + " is " + instance.path("status").asText().toLowerCase(Locale.ROOT)
                        + ". To start it: " + sibling("sandboxes") + " start " + name);
            }
            return name;
        }
    }
    // --- end of Caller ---

    // --- Lima: the same text in every script ---
    /** Runs limactl, qemu-img and ssh: argument lists in, exit codes and words out. limactl is asked, never believed. */
    static final class Lima {
        /** Ends a call with a sentence for the user; the exit code is 125 for our own failures, 2 for usage. */
        static final class Failure extends RuntimeException {
            private static final long serialVersionUID = 1;
            final int code;

            Failure(int code, String message) {
                super(message);
                this.code = code;
            }

            Failure(String message) {
                this(125, message);
            }
        }

        /** What a finished process left. */
        record Result(int code, String out, String err) {}

        /** What limactl may see of our environment. QEMU and the hostagent keep it for the VM's life: no keys in it. */
        private static final Pattern PASSED = Pattern
                .compile("PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_.*|TERM|TERMINFO(_DIRS)?|TMPDIR|XDG_.*"
                        + "|LIMA_.*|QEMU_SYSTEM_.*|NO_COLOR|SSL_CERT_(FILE|DIR)|(?i:https?_proxy|no_proxy|all_proxy|ftp_proxy)");

        private static final Pattern REASON = Pattern.compile("level=(?:fatal|error) msg=\"((?:[^\"\\\\]|\\\\.)*)\"");

        final Map<String, String> env;
        final Path home;

        Lima(Map<String, String> caller) {
            env = new TreeMap<>(caller);
            env.keySet().removeIf(name -> !PASSED.matcher(name).matches());
            env.merge("PATH", caller.getOrDefault("HOME", "") + "/.local/bin", (path, ours) -> path + ":" + ours);
            String told = caller.getOrDefault("LIMA_HOME", "");
            home = told.isEmpty() ? Path.of(caller.getOrDefault("HOME", "/"), ".lima") : Path.of(told).toAbsolutePath();
        }

        /** Runs a program to its end; a missing one or too long a run is a failure, an exit code is not. */
        Result run(Duration limit, String stdin, List<String> command) {
            return io(() -> {
                Process process = builder(command).start();
                var out = CompletableFuture.supplyAsync(() -> io(() -> process.getInputStream().readAllBytes()));
                var err = CompletableFuture.supplyAsync(() -> io(() -> process.getErrorStream().readAllBytes()));
                try (OutputStream to = process.getOutputStream()) {
                    to.write((stdin == null ? "" : stdin).getBytes(UTF_8));
                }
                if (!process.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS)) {
                    process.destroyForcibly();
                    throw new Failure(command.get(0) + " did not end within " + limit.toSeconds() + " s");
                }
                return new Result(process.exitValue(), new String(out.join(), UTF_8), new String(err.join(), UTF_8));
            });
        }

        ProcessBuilder builder(List<String> command) {
            ProcessBuilder builder = new ProcessBuilder(new ArrayList<>(command));
            builder.command().set(0, which(command.get(0)));
            builder.environment().clear();
            builder.environment().putAll(env);
            return builder;
        }

        /** Where a program is on our PATH, which Java does not look at; the name as it is if nowhere. */
        String which(String program) {
            return Stream.of(env.get("PATH").split(":")).map(d -> Path.of(d, program))
                    .filter(Files::isExecutable).findFirst().map(Path::toString).orElse(program);
        }

        /** Runs limactl, which must succeed; its stdout. A failure carries its last words. */
        String limactl(String... args) {
            Result r = run(Duration.ofMinutes(20), null, Stream.concat(Stream.of("limactl"), Stream.of(args)).toList());
            if (r.code != 0) {
                throw new Failure("limactl " + args[0] + " failed: " + reason(r.err));
            }
            return r.out;
        }

        /** The sentence in limactl's log lines that says why, else the last line. */
        static String reason(String log) {
            String last = REASON.matcher(log).results().map(m -> m.group(1).replace("\\\"", "\"").replace("\\n", " "))
                    .reduce(log.strip().replaceAll("(?s).*\n", ""), (a, b) -> b);
            return last.isEmpty() ? "it said nothing" : last;
        }

        /**
         * All instances, as limactl tells of them; its --format json would break at 64 KiB an instance. Before 2.2 one
         * directory without a lima.yaml, half-made, spoils the whole list: then the others are asked for by name.
         */
        List<JsonNode> list() {
            return lines().map(l -> io(() -> Json.MAPPER.readTree(l))).toList();
        }

        private Stream<String> lines() {
            Result all = run(Duration.ofMinutes(5), null, List.of("limactl", "list", "--format", "{{json .}}"));
            String[] good = all.code == 0 ? null : home.toFile().list((d, n) -> new File(d, n + "/lima.yaml").exists());
            String lines = all.code == 0 ? all.out : good == null || good.length == 0 ? "" : limactl(Stream.concat(
                    Stream.of("list", "--format", "{{json .}}"), Stream.of(good)).toArray(String[]::new));
            return lines.lines().filter(l -> !l.isBlank());
        }

        /** A class of its own, so that it is set up when it is needed first: it takes as long as a call over ssh. */
        static final class Json {
            static final ObjectMapper MAPPER = new ObjectMapper();
        }

        /** Runs a command in the guest over our own connection to it (Life.connect), without a terminal. */
        Result ssh(String name, Duration limit, String stdin, String remote) {
            return run(limit, stdin, sshCommand(name, List.of(), remote));
        }

        List<String> sshCommand(String name, List<String> options, String... remote) {
            List<String> command = new ArrayList<>(
                    List.of("ssh", "-F", home.resolve(name).resolve("ssh.config").toString(),
                            "-o", "ControlPath=" + socket(name), "-o", "ControlMaster=no", "-o", "LogLevel=ERROR"));
            command.addAll(options);
            command.add("lima-" + name);
            command.addAll(List.of(remote));
            return command;
        }

        /** The socket of our connection; its path, with ssh's own suffix, has to stay below 104 bytes. */
        Path socket(String name) {
            Path plain = state("s").resolve(name);
            Path socket = plain.toString().length() <= 85 ? plain
                    : state("s").resolve("_" + hash(name).substring(0, 8));
            if (socket.toString().length() > 85) {
                throw new Failure("LIMA_HOME is too long for the sockets of ssh: " + home);
            }
            return socket;
        }

        /** A directory of our own; Lima ignores names that begin with _. */
        Path state(String what) {
            Path dir = home.resolve("_sandbox").resolve(what);
            return io(() -> Files.isDirectory(dir) ? dir : Files.createDirectories(dir,
                    PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------"))));
        }

        /** One word for a POSIX shell, byte for byte. */
        static String quote(String word) {
            return "'" + word.replace("'", "'\\''") + "'";
        }

        static String hash(String text) {
            return io(() -> HexFormat.of().formatHex(
                    MessageDigest.getInstance("SHA-256").digest(text.getBytes(UTF_8))));
        }

        /** Runs work that may fail with a checked exception, which becomes a sentence for the user. */
        static <T> T io(Callable<T> work) {
            try {
                return work.call();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new Failure("interrupted");
            } catch (RuntimeException e) {
                throw e;
            } catch (Exception e) {
                String text = String.valueOf(e.getMessage());
                throw new Failure(text.contains("error=2,")
                        ? text.replaceAll("(?s).*program \"(.*?)\".*", "$1") + " was not found on the PATH"
                        : e.getClass().getSimpleName().replace("Exception", "") + ": " + text);
            }
        }
    }
    // --- end of Lima ---
}
