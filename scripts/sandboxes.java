///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Lists, starts, stops, changes and deletes the sandboxes that you have.
//JAVA 17+
//DEPS info.picocli:picocli:4.7.7
//DEPS com.fasterxml.jackson.dataformat:jackson-dataformat-yaml:2.23.0
package dev.limasandbox;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.URLDecoder;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine;

/**
 * {@code sandboxes VERB …}: those that you have. {@code sandbox} makes, starts and enters one; this looks after them.
 * What holds for every verb stands in {@link Verb}, {@link Targets} and {@link Ending}, then comes one class a verb.
 *
 * <p>Exit codes: 0, 125 for failures, 2 for usage, 1 when a question was answered with no.
 */
@Command(
        name = "sandboxes",
        sortOptions = false,
        customSynopsis = "sandboxes VERB [NAME...] [OPTIONS]%n",
        description = {
                "Lists, starts, stops, changes and deletes the sandboxes that you have.",
                "",
                "NAME may be a path: the sandbox that has that directory mounted ('.': this one).",
                "A verb that would end a session says which and stops there without --force.%n"
        },
        commandListHeading = "Verbs:%n",
        optionListHeading = "%nOptions:%n",
        footer = {
                "",
                "Examples:",
                "  sandboxes list",
                "  sandboxes stop .                 the one of this directory",
                "  sandboxes stop --all --when-idle",
                "  sandboxes delete --help          more on one verb",
                "  source <(sandboxes --completion bash)"
        },
        subcommands = {
                Sandboxes.ListAll.class, Sandboxes.Start.class, Sandboxes.Stop.class, Sandboxes.Restart.class,
                Sandboxes.Delete.class, Sandboxes.Reset.class, Sandboxes.Rename.class, Sandboxes.Edit.class,
                Sandboxes.Ports.class, Sandboxes.Clone.class, Sandboxes.Usage.class, Sandboxes.Trim.class,
                Sandboxes.Cp.class
        })
class Sandboxes implements Callable<Integer> {
    @Option(names = "--completion", paramLabel = "SHELL", description = "Write the completion for bash, zsh or fish.")
    String completion;

    @Option(names = {"-h", "--help"}, usageHelp = true, description = "Show this help.")
    boolean help;

    @CommandLine.Spec
    CommandLine.Model.CommandSpec spec;

    private final Host host;

    Sandboxes(Host host) {
        this.host = host;
    }

    /** Runs one command line and ends the process with its exit code. */
    public static void main(String[] args) {
        System.exit(run(Host.ofThisProcess(), args));
    }

    /**
     * Runs one command line; what {@link #main} and other programs in the same JVM call.
     *
     * @return the exit code; never throws for a failure of ours, which is told on {@code host.err}
     */
    static int run(Host host, String... args) {
        return new CommandLine(new Sandboxes(host)).setExpandAtFiles(false).setOut(host.out).setErr(host.err)
                .setColorScheme(CommandLine.Help.defaultColorScheme(
                        host.colours() ? CommandLine.Help.Ansi.ON : CommandLine.Help.Ansi.OFF))
                .setParameterExceptionHandler((e, a) -> {
                    String verb = e.getCommandLine().getCommandName().replaceFirst("^sandboxes$", "");
                    host.err.println("sandboxes: " + e.getMessage());
                    CommandLine.UnmatchedArgumentException.printSuggestions(e, host.err);
                    String[] synopsis = e.getCommandLine().getCommandSpec().usageMessage().customSynopsis();
                    host.err.println("Usage: " + host.command + " " + (verb.isEmpty() ? "VERB [NAME...] [OPTIONS]"
                            : synopsis.length == 0 ? verb + " [NAME...] [OPTIONS]"
                                    : synopsis[0].strip().replaceFirst("^sandboxes ", "").replace("%n", "")));
                    host.err.println("'" + host.command + (" " + verb).stripTrailing() + " --help' tells more.");
                    host.err.flush();
                    return 2;
                })
                .setExecutionExceptionHandler((e, l, p) -> {
                    if (!(e instanceof Lima.Failure failure)) {
                        throw e;
                    }
                    host.err.println("sandboxes: " + failure.getMessage());
                    host.err.flush();
                    return failure.code;
                }).execute(args);
    }

    @Override
    public Integer call() {
        if (completion == null) {
            throw new CommandLine.ParameterException(spec.commandLine(), "a verb is missing: "
                    + String.join(", ", spec.subcommands().keySet()));
        }
        host.out.print(Completion.of(completion, spec));
        host.out.flush();
        return 0;
    }

    // ------------------------------------------------------------------------------------- what holds for every verb

    /** What every verb can do: look, choose, talk. */
    abstract static class Verb implements Callable<Integer> {
        @ParentCommand
        Sandboxes main;

        @Option(names = {"-h", "--help"}, usageHelp = true, description = "Show this help.")
        boolean help;

        Host host;
        Lima lima;
        Talk talk;

        /** Does what the verb is for; the exit code. */
        abstract int work();

        Talk talk() {
            return new Talk(host, false, false);
        }

        @Override
        public final Integer call() {
            host = main.host;
            lima = new Lima(host.env);
            talk = talk();
            return work();
        }

        Life life(String name) {
            return new Life(lima, phase -> talk.say(phase.isEmpty() ? "" : phase.contains(name) ? phase + " ..."
                    : name + ": " + phase + " ..."));
        }

        /** All instances, other people's too, one limactl call. */
        List<Box> all() {
            return lima.list().stream().map(Box::new).toList();
        }

        /** One instance as it is at this moment; empty if it is gone. */
        Optional<Box> now(String name) {
            return all().stream().filter(b -> b.name.equals(name)).findFirst();
        }

        /** The sandbox that a word means: its name, or a directory that it has mounted. Nothing that is not ours. */
        Box one(String word, List<Box> all) {
            Box found = Host.isPath(word) ? ofDirectory(word, all) : named(word, all)
                    .orElseThrow(() -> new Lima.Failure(2, missing(word, all)));
            Path dir = lima.home.resolve(found.name);
            if (!Files.exists(dir.resolve("lima.yaml"))) {
                throw new Lima.Failure(
                        dir + " has no lima.yaml: an interrupted limactl create, clone or delete left it."
                                + " If no limactl works on it any more:\n  rm -rf " + Lima.quote(dir.toString()));
            }
            if (!found.isSandbox() && Files.exists(Reset.journal(lima, found.name))) {
                throw new Lima.Failure(2, missing(found.name, all)); // half-made: a clone that is still its base's equal
            }
            if (found.kind().isEmpty()) {
                throw new Lima.Failure(found.name + " is a Lima instance that this tool did not make, so it is left"
                        + " alone. limactl works on it: limactl --help");
            }
            if (found.kind().equals("base") && !takesBases()) {
                throw new Lima.Failure(found.name + " is a base that sandboxes are cloned from: it is neither started"
                        + " nor changed");
            }
            return found;
        }

        Box box(String word) {
            return one(word, all());
        }

        /** The same, which must run and answer. */
        Box running(String word) {
            Box is = box(word);
            if (!is.is("Running") && Files.exists(owed(is.name))) {
                talk.say("an interrupted call left " + is.name + " stopped");
                boot(is.name);
                is = box(word);
            }
            if (!is.is("Running")) {
                throw new Lima.Failure(is.name + " does not run. To start it: " + host.command + " start " + is.name);
            }
            life(is.name).connect(is.name, Duration.ofMinutes(1));
            return is;
        }

        /** Runs a script in a running sandbox; its stdout. */
        String guest(Box is, String script) {
            Lima.Result r = lima.ssh(is.name, Duration.ofMinutes(20), script, "sh -s");
            if (r.code() != 0) {
                throw new Lima.Failure("in " + is.name + ": " + Lima.reason(r.err()));
            }
            return r.out();
        }

        /** May a base be named too? */
        boolean takesBases() {
            return false;
        }

        /**
         * What was cloned from a base: instances that say so, and any whose disk, or a snapshot's copy of it, lies on
         * the base's image, whoever made it: its name stands in the head of a qcow2 file.
         */
        List<String> clones(Box base, List<Box> all) {
            Set<String> clones = all.stream().filter(b -> base.name.equals(b.mark.get("base"))).map(b -> b.name)
                    .collect(Collectors.toCollection(TreeSet::new));
            String disks = lima.run(Duration.ofMinutes(1), null, List.of("sh", "-c", "cd \"$0\" &&"
                    + " for d in */disk */diffdisk _sandbox/snapshots/*/*/disk; do"
                    + " head -c 4096 \"$d\" 2>/dev/null | grep -qaF \"$1\" && echo \"$d\"; done",
                    lima.home.toString(), "/_sandbox/images/" + base.name + ".qcow2")).out();
            disks.lines().map(d -> Path.of(d.replaceFirst("^_sandbox/snapshots/", "")).getName(0).toString())
                    .filter(name -> !name.equals(base.name)).forEach(clones::add);
            return List.copyOf(clones);
        }

        static Stream<File> children(Path dir) {
            return Stream.ofNullable(dir.toFile().listFiles()).flatMap(Stream::of);
        }

        static Optional<Box> named(String name, List<Box> all) {
            return all.stream().filter(b -> b.name.equals(name)).findFirst();
        }

        private String missing(String name, List<Box> all) {
            String there = all.stream().filter(Box::isSandbox).map(b -> b.name).collect(Collectors.joining(", "));
            return "there is no sandbox " + name + "; " + (there.isEmpty() ? "there is none at all" : "there are "
                    + there)
                    + (Files.exists(Reset.journal(lima, name)) ? "\nA reset of it was interrupted; to finish it: "
                            + host.command + " reset " + name : "");
        }

        private Box ofDirectory(String word, List<Box> all) {
            Path dir = host.path(word);
            if (!Files.isDirectory(dir)) {
                throw new Lima.Failure(2, "no such directory: " + dir);
            }
            Path real = Lima.io(dir::toRealPath);
            List<Box> covering = all.stream().filter(b -> b.isSandbox()
                    && b.mounts().stream().anyMatch(m -> real.startsWith(m.path))).toList();
            if (covering.size() != 1) {
                throw new Lima.Failure(2, covering.isEmpty() ? "no sandbox has " + real + " mounted"
                        : "several sandboxes have " + real + " mounted, say which: "
                                + covering.stream().map(b -> b.name).collect(Collectors.joining(", ")));
            }
            return covering.get(0);
        }

        /** Those that the words mean, each once; with --all every sandbox of ours that is not protected. */
        List<Box> chosen(Targets targets) {
            targets.names.forEach(this::settle);
            List<Box> all = all();
            if (!targets.all) {
                Map<String, Box> chosen = new LinkedHashMap<>();
                targets.names.forEach(n -> chosen.put(n, one(n, all)));
                return chosen.values().stream().distinct().toList();
            }
            List<Box> ours = all.stream().filter(b -> b.isSandbox() && !b.isProtected()).toList();
            if (ours.isEmpty()) {
                talk.say("there is no sandbox"
                        + (all.stream().anyMatch(Box::isSandbox) ? " that is not protected" : ""));
            }
            return ours;
        }

        /** Does WORK on each, at most eight at once; a failure of one does not keep the others. */
        int each(List<Box> boxes, Consumer<Box> work) {
            if (boxes.size() == 1) {
                work.accept(boxes.get(0));
                return 0;
            }
            ExecutorService pool = Executors.newFixedThreadPool(8);
            try {
                List<CompletableFuture<Integer>> running = boxes.stream().map(b -> CompletableFuture.supplyAsync(() -> {
                    try {
                        work.accept(b);
                        return 0;
                    } catch (Lima.Failure failure) {
                        talk.error(failure.getMessage());
                        return 125;
                    }
                }, pool)).toList();
                return running.stream().mapToInt(CompletableFuture::join).max().orElse(0);
            } finally {
                pool.shutdown();
            }
        }

        /** Runs {@code sandbox}, which makes and starts, proven; its stdout goes to our stderr. */
        int sandbox(List<String> words) {
            return sandbox(words, ProcessBuilder.Redirect.DISCARD, child -> "").code();
        }

        /** Runs {@code sandbox}, which knows what may be mounted and how; its stdout. */
        String told(List<String> words) {
            Lima.Result r = sandbox(words, ProcessBuilder.Redirect.PIPE,
                    child -> Lima.io(() -> new String(child.getInputStream().readAllBytes(), UTF_8)));
            if (r.code() != 0) {
                throw new Lima.Failure(r.code(), "sandbox refused, see above");
            }
            return r.out();
        }

        private Lima.Result sandbox(List<String> words, ProcessBuilder.Redirect out, Function<Process, String> reader) {
            List<String> call = new ArrayList<>(out.equals(ProcessBuilder.Redirect.PIPE) ? List.of()
                    : List.of("sh", "-c", "exec \"$@\" >&2", "sh"));
            call.addAll(host.script(lima, "sandbox"));
            call.add("--no-keys"); // nothing that is run so has a use for one
            call.addAll(words);
            return Lima.io(() -> {
                ProcessBuilder builder = new ProcessBuilder(call).redirectError(ProcessBuilder.Redirect.INHERIT)
                        .redirectOutput(out).redirectInput(new File("/dev/null"));
                builder.environment().clear();
                builder.environment().putAll(host.env);
                builder.environment().remove("SANDBOX_TEMPLATE"); // is for new ones
                Process child = builder.start();
                Thread hook = new Thread(child::destroy);
                Runtime.getRuntime().addShutdownHook(hook);
                String said = reader.apply(child);
                int code = child.waitFor();
                Runtime.getRuntime().removeShutdownHook(hook);
                return new Lima.Result(code, said, "");
            });
        }

        /** Starts a sandbox the way that entering it does: audited, mended, proven ready. A running one stays as it is. */
        void boot(String name) {
            List<String> words = new ArrayList<>(talk.quiet ? List.of("--quiet") : List.of());
            words.addAll(talk.yes ? List.of("--yes") : List.of());
            List<Mount> mounts = box(name).mounts();
            words.addAll(mounts.isEmpty() ? List.of("--mount-none") : List.of("--dir", mounts.get(0).path.toString()));
            words.addAll(List.of("--name", name, "true"));
            if (sandbox(words) != 0) {
                throw new Lima.Failure(name + " did not start, see above");
            }
            Lima.io(() -> Files.deleteIfExists(owed(name)));
        }

        /**
         * Mends what an interrupted call left of a name, if its lock's file says so: before that the instance may be
         * half a clone, which still has the mark of its source.
         */
        void settle(String name) {
            if (name.matches("[A-Za-z0-9][A-Za-z0-9._-]*")
                    && lima.home.resolve("_sandbox/locks/" + name + ".lock").toFile().length() > 0) {
                try (Life.Lock lock = life(name).lock(name)) {
                    if (!lock.abandoned && !Files.exists(lima.home.resolve(name))) {
                        forget(name);
                    }
                }
            }
        }

        /**
         * What a name owns under {@code _sandbox}, beside its lock's file, which others may wait for.
         *
         * @param lasting what outlives a boot and goes along to another name; else all the rest
         */
        private Stream<Path> owned(String name, boolean lasting) {
            Path ours = lima.home.resolve("_sandbox");
            Stream<Path> agents = children(ours.resolve("agents")).map(agent -> agent.toPath().resolve(name));
            return lasting ? Stream.concat(agents, Stream.of("snapshots/" + name, "restart/" + name, "edit/" + name
                    + ".yaml", "trials/" + name + ".json").map(ours::resolve))
                    : Stream.of("sessions/" + name, "live/" + name, "forwards/" + name, "edit/" + name + ".set.yaml",
                            "images/" + name + ".qcow2").map(ours::resolve);
        }

        /** Removes what is on record of an instance that is gone, and ends the connection that had its forwards. */
        void forget(String name) {
            Path forwards = forwardsSocket(name);
            if (Files.exists(forwards)) { // ssh.config is gone
                lima.run(Duration.ofMinutes(1), null, List.of("ssh", "-F", "none", "-S", forwards.toString(), "-O",
                        "exit", name));
            }
            List<String> call = new ArrayList<>(List.of("rm", "-rf", "--", forwards.toString()));
            Stream.concat(owned(name, true), owned(name, false)).forEach(p -> call.add(p.toString()));
            lima.run(Duration.ofMinutes(5), null, call);
        }

        /** Gives what outlives a boot to another name; what has moved already is no error. */
        void hand(String name, String to) {
            List<Path> targets = owned(to, true).toList();
            List<Path> sources = owned(name, true).toList();
            for (int i = 0; i < sources.size(); i++) {
                Path source = sources.get(i);
                Path target = targets.get(i);
                Lima.io(() -> Files.exists(source) ? Files.move(source, target) : target);
            }
        }

        /** What other programs know of a sandbox gets its new name, or goes with it. */
        void follow(String name, Optional<String> to) {
            dockerContext(name, to);
            editors(name, to);
        }

        /** The docker CLI's context of a sandbox, if docker-context made one, gets its new name, or goes with it. */
        private void dockerContext(String name, Optional<String> to) {
            for (String line : docker("context", "ls", "--format", "{{json .}}").lines().toList()) {
                JsonNode context = Lima.io(() -> Lima.Json.MAPPER.readTree(line));
                if (context.path("Name").asText().equals("lima-" + name)
                        && context.path("DockerEndpoint").asText().equals("unix://" + dockerSocket(name))) {
                    to.ifPresent(t -> docker("context", "create", "lima-" + t, "--description", "The sandbox " + t,
                            "--docker", "host=unix://" + dockerSocket(t)));
                    if (context.path("Current").asBoolean()) {
                        docker("context", "use", to.map("lima-"::concat).orElse("default"));
                    }
                    docker("context", "rm", "lima-" + name);
                }
            }
        }

        /** What editor wrote for a sandbox, for ssh and in Zed's settings. */
        private void editors(String name, Optional<String> to) {
            String xdg = Host.mac() ? "" : host.env.getOrDefault("XDG_CONFIG_HOME", "");
            Path zed = host.path(xdg.isEmpty() ? "~/.config" : xdg).resolve("zed/settings.json");
            List<String> concerned = Stream.of("ssh", "zed").filter(e -> e.equals("zed")
                    ? mentions(zed, "\"lima-" + name + "\"")
                    : mentions(lima.home.resolve("_sandbox/ssh_config"), "/" + name + "/ssh.config\"")).toList();
            for (String editor : concerned) {
                List<String> words = List.of(editor, name, to.map("--rename="::concat).orElse("--remove"));
                try {
                    List<String> call = new ArrayList<>(host.script(lima, "editor"));
                    call.addAll(words);
                    Lima.Result r = lima.run(Duration.ofMinutes(2), null, call);
                    if (r.code() != 0) {
                        throw new Lima.Failure(r.err().strip());
                    }
                } catch (Lima.Failure failure) {
                    talk.error(failure.getMessage() + "\nThis is left to do: " + host.sibling("editor") + " "
                            + String.join(" ", words));
                }
            }
        }

        private static boolean mentions(Path file, String word) {
            return Files.isRegularFile(file) && Lima.io(() -> Files.readString(file, ISO_8859_1)).contains(word);
        }

        private Path dockerSocket(String name) {
            return lima.home.resolve(name).resolve("sock/docker.sock");
        }

        /** What the docker CLI says; nothing where there is none, or where it fails. */
        private String docker(String... words) {
            String config = host.env.getOrDefault("DOCKER_CONFIG", host.env.getOrDefault("HOME", "") + "/.docker");
            List<String> call = new ArrayList<>(List.of("env", "DOCKER_CONFIG=" + config, "docker"));
            call.addAll(List.of(words));
            Lima.Result r = lima.which("docker").contains("/") ? lima.run(Duration.ofMinutes(1), null, call)
                    : new Lima.Result(127, "", "");
            return r.code() == 0 ? r.out() : "";
        }

        /** The socket of the connection that has the forwards of a name; closing it closes them all. */
        Path forwardsSocket(String name) {
            return lima.state("f").resolve(Lima.hash(name).substring(0, 8));
        }

        /** What is to be said of an open trial of snapshot when its sandbox goes. */
        Optional<String> trial(String name) {
            Path note = lima.home.resolve("_sandbox/trials/" + name + ".json");
            return !Files.exists(note) ? Optional.empty()
                    : Optional.of(Lima.io(() -> Lima.Json.MAPPER.readTree(note.toFile())))
                            .map(t -> "its trial " + t.path("tag").asText() + " ends undecided: "
                                    + t.path("top").asText()
                                    + " stays on the branch agent/" + t.path("tag").asText());
        }

        /** Where it is noted that a call stopped a sandbox to start it again: still there when it was killed between. */
        Path owed(String name) {
            return lima.state("restart").resolve(name);
        }
    }

    /** A verb that changes something. */
    abstract static class Acting extends Verb {
        @Option(names = {"-q", "--quiet"}, description = "Say nothing but errors.")
        boolean quiet;

        @Option(names = "--yes", description = "Answer every question with yes.")
        boolean yes;

        @Override
        Talk talk() {
            return new Talk(host, quiet, yes);
        }
    }

    /** Which sandboxes a verb is for. */
    static final class Targets {
        @Parameters(paramLabel = "NAME", arity = "0..*", description = "Names, or directories that are mounted.")
        List<String> names = new ArrayList<>();

        @Option(names = "--all", description = "Every sandbox; no base, no protected and no foreign instance.")
        boolean all;

        /** Either names or --all. */
        void check(Verb verb) {
            if (all == !names.isEmpty()) {
                throw new Lima.Failure(2, all ? "either names or --all"
                        : "which one? NAME, . for this directory's, or --all; there are listed by: "
                                + verb.host.command + " list");
            }
        }
    }

    /** A verb that would end the sessions in a sandbox: it looks for them first. */
    abstract static class Ending extends Acting {
        @Option(names = "--force", description = "End open sessions.")
        boolean force;

        @Option(names = "--when-idle", description = "Wait until no session is open.")
        boolean whenIdle;

        /** Does WORK under the lock of NAME once no session is open in it, or in spite of them with --force. */
        void ending(String name, Consumer<Life.Lock> work) {
            for (boolean said = false;; said = true) {
                try (Life.Lock lock = life(name).lock(name)) {
                    String open = force ? "" : Session.text(Session.of(lima, name));
                    if (open.isEmpty()) {
                        work.accept(lock);
                        return;
                    }
                    if (!whenIdle) {
                        throw new Lima.Failure(name + " is in use: " + open
                                + "\n--when-idle waits for the end of it, --force ends it.");
                    }
                    if (!said) {
                        talk.say(name + " is in use: " + open + "; waiting for the end of it");
                    }
                }
                LockSupport.parkNanos(1_000_000_000L);
            }
        }

        /**
         * Does WORK on a stopped machine, which is started again if it ran. That is noted before, so that the next call
         * after a kill -9 starts it. A failure of WORK is told after the start.
         */
        void around(Box is, Runnable work) {
            Path ran = owed(is.name);
            Optional<Lima.Failure> failure = Optional.empty();
            try {
                ending(is.name, lock -> {
                    if (!box(is.name).is("Stopped")) {
                        Host.write(ran, "");
                        halt(is.name);
                    }
                    work.run();
                });
            } catch (Lima.Failure f) {
                failure = Optional.of(f);
            }
            if (Files.exists(ran)) {
                boot(is.name);
            }
            failure.ifPresent(f -> {
                throw f;
            });
        }

        /** Stops a machine under its lock, if it is not stopped, and looks whether it is. */
        void halt(String name) {
            Box is = now(name).orElseThrow(() -> new Lima.Failure("there is no sandbox " + name + " any more"));
            if (is.is("Stopped")) {
                talk.say(name + " is stopped");
                return;
            }
            Instant since = Instant.now();
            talk.say("stopping " + name + (is.is("Broken") ? ", which is broken" : "") + " ...");
            life(name).stop(name);
            String status = now(name).map(b -> b.status).orElse("gone");
            if (!status.equals("Stopped")) {
                throw new Lima.Failure(name + " was to be stopped and is " + status.toLowerCase(Locale.ROOT)
                        + ". Perhaps this helps: limactl stop -f " + name);
            }
            talk.say(name + " is stopped, after " + Duration.between(since, Instant.now()).toSeconds() + " s");
        }
    }

    // ------------------------------------------------------------------------------------------------------ the verbs

    @Command(name = "list", sortOptions = false, description = {"Shows the sandboxes, one a line.", ""},
            footer = {"", "DISK is what it takes on this computer, of the size that it has; TAGS counts snapshots.",
                    "", "Examples:", "  sandboxes list", "  sandboxes list --json web | jq -r '.[0].sshPort'",
                    "  sandboxes list --bases           what they were cloned from, and its size",
                    "  sandboxes list --watch           until a key is pressed"})
    static final class ListAll extends Verb {
        @Parameters(paramLabel = "NAME", arity = "0..*", description = "Only these.")
        List<String> names = new ArrayList<>();

        @Option(names = {"-q", "--quiet"}, description = "Only the names.")
        boolean namesOnly;

        @Option(names = "--json", description = "As JSON, with more: ssh, Docker's socket, directories, bytes.")
        boolean json;

        @Option(names = "--foreign", description = "Also instances that this tool did not make.")
        boolean foreign;

        @Option(names = "--bases", description = "The bases, with what was cloned from them.")
        boolean bases;

        @Option(names = "--watch", description = "Show them again and again, with processor and memory in use.")
        boolean watch;

        @Override
        boolean takesBases() {
            return true;
        }

        @Override
        int work() {
            if (watch) {
                return Watch.run(this);
            }
            CompletableFuture<Map<Path, Long>> sizes = CompletableFuture
                    .supplyAsync(() -> namesOnly ? Map.of() : used());
            List<Box> all = all();
            List<Box> shown = shown(all);
            if (namesOnly) {
                shown.forEach(b -> host.out.println(b.name));
            } else if (json) {
                host.json(shown.stream().map(b -> describe(b, sizes.join(), all)).toList());
            } else if (shown.isEmpty()) {
                talk.say(bases ? "there is no base; the first new sandbox makes one"
                        : "there is no sandbox yet; this makes one for this directory: " + host.entry() + " .");
            } else {
                table(shown, all, sizes.join()).forEach(host.out::println);
            }
            host.out.flush();
            shown.stream().filter(b -> b.is("Stopped") && Files.exists(owed(b.name))).forEach(b -> talk.say(
                    "an interrupted call left " + b.name + " stopped; to start it: " + host.command + " start "
                            + b.name));
            return 0;
        }

        List<Box> shown(List<Box> all) {
            return names.isEmpty() ? all.stream().filter(b -> bases ? b.kind().equals("base") : b.isSandbox()
                    || foreign && b.kind().isEmpty()).toList()
                    : names.stream().map(n -> foreign && named(n, all).isPresent() ? named(n, all).get() : one(n, all))
                            .distinct().toList();
        }

        /** The bytes that each instance really takes, by one du for all of them; clones on APFS share some. */
        Map<Path, Long> used() {
            List<Path> places = Stream.of(lima.home, lima.home.resolve("_sandbox/images"))
                    .flatMap(Verb::children).map(File::toPath)
                    .filter(p -> !p.getFileName().toString().startsWith("_")).toList();
            Map<Path, Long> used = new HashMap<>();
            if (!places.isEmpty()) {
                List<String> call = new ArrayList<>(List.of("du", "-sk", "--"));
                places.forEach(p -> call.add(p.toString()));
                for (String line : lima.run(Duration.ofMinutes(1), null, call).out().lines().toList()) {
                    String[] cells = line.split("\t", 2);
                    if (cells.length == 2 && cells[0].matches("[0-9]+")) {
                        used.put(Path.of(cells[1]), Long.parseLong(cells[0]) * 1024);
                    }
                }
            }
            return used;
        }

        long used(Box box, Map<Path, Long> sizes) {
            return sizes.getOrDefault(lima.home.resolve(box.name), 0L)
                    + sizes.getOrDefault(lima.home.resolve("_sandbox/images/" + box.name + ".qcow2"), 0L);
        }

        private Map<String, Object> describe(Box box, Map<Path, Long> sizes, List<Box> all) {
            Map<String, Object> is = new LinkedHashMap<>();
            is.put("name", box.name);
            is.put("kind", box.kind().isEmpty() ? "foreign" : box.kind());
            is.put("status", box.status);
            is.put("protected", box.isProtected());
            is.put("mounts", box.mounts().stream().map(m -> Map.of("path", m.path.toString(), "writable", m.writable))
                    .toList());
            is.put("sessions", Session.of(lima, box.name).stream().map(s -> Map.of("command", s.command, "pid", s.pid,
                    "since", s.since.toString())).toList());
            is.put("cpus", box.cpus);
            is.put("memory", box.memory);
            is.put("disk", box.disk);
            is.put("diskUsed", used(box, sizes));
            is.put("base", box.mark.get("base"));
            is.put("snapshots", Tag.of(lima, box.name));
            if (box.kind().equals("base")) {
                is.put("clones", clones(box, all));
            }
            is.put("vmType", box.vmType);
            is.put("sshPort", box.node.path("sshLocalPort").asInt());
            is.put("sshConfig", box.node.path("sshConfigFile").asText());
            is.put("directory", box.dir.toString());
            is.put("dockerSocket", box.dockerSocket());
            return is;
        }

        List<String> table(List<Box> shown, List<Box> all, Map<Path, Long> sizes) {
            List<List<String>> rows = new ArrayList<>();
            rows.add(bases ? List.of("NAME", "STATUS", "DISK", "CLONES")
                    : List.of("NAME", "STATUS", "CPUS", "MEMORY", "DISK", "TAGS", "BASE", "SESSIONS", "DIRECTORIES"));
            for (Box b : shown) {
                String disk = size(used(b, sizes)) + "/" + size(b.disk);
                rows.add(bases ? List.of(b.name, b.status, disk, String.join(" ", clones(b, all)))
                        : List.of(b.name, b.status, "" + b.cpus, size(b.memory), disk,
                                "" + Tag.of(lima, b.name).size(), b.kind().isEmpty() ? "foreign"
                                        : b.mark.getOrDefault("base", "-").replaceFirst("^base-(.{4}).*", "$1"),
                                Session.brief(Session.of(lima, b.name)),
                                b.mounts().isEmpty() ? "-" : b.mounts().stream().map(m -> host.tilde(m.path)
                                        + (m.writable ? ":w" : "")).collect(Collectors.joining(" "))));
            }
            return columns(rows);
        }

        /** Columns as wide as their widest cell; the last one has what is left of 80, cut at its front. */
        static List<String> columns(List<List<String>> rows) {
            int last = rows.get(0).size() - 1;
            int[] width = new int[last];
            rows.forEach(r -> {
                for (int i = 0; i < last; i++) {
                    width[i] = Math.max(width[i], r.get(i).length());
                }
            });
            List<String> lines = new ArrayList<>();
            for (List<String> row : rows) {
                StringBuilder line = new StringBuilder();
                for (int i = 0; i < last; i++) {
                    line.append(row.get(i)).append(" ".repeat(width[i] - row.get(i).length() + 1));
                }
                String tail = row.get(last);
                int room = Math.max(10, 80 - line.length());
                lines.add((line + (tail.length() <= room ? tail : "…" + tail.substring(tail.length() - room + 1)))
                        .stripTrailing());
            }
            return lines;
        }

        /** Bytes in at most four letters: 512M, 1.5G, 50G. */
        static String size(long bytes) {
            double gib = bytes / (double) (1L << 30);
            return gib < 0.95 ? Math.round(gib * 1024) + "M"
                    : gib < 9.95 && Math.round(gib * 10) % 10 != 0 ? String.format(Locale.ROOT, "%.1fG", gib)
                            : Math.round(gib) + "G";
        }
    }

    /** {@code list --watch}: the same lines again and again, with what each machine takes of this computer now. */
    static final class Watch {
        private Watch() {}

        /** Draws every two seconds until a key is pressed: the terminal itself waits that long for one (stty time). */
        static int run(ListAll list) {
            Host host = list.host;
            if (!host.stdinTty || !host.stdoutTty) {
                throw new Lima.Failure(2, "--watch needs a terminal");
            }
            String saved = stty("-g").strip();
            Thread hook = new Thread(() -> stty(saved));
            Runtime.getRuntime().addShutdownHook(hook);
            Map<String, Duration> before = new HashMap<>();
            Instant at = Instant.now();
            try {
                stty("-icanon -echo min 0 time 20");
                do {
                    List<Box> all = list.all();
                    List<Box> shown = list.shown(all);
                    double seconds = Math.max(0.1, Duration.between(at, Instant.now()).toMillis() / 1000.0);
                    at = Instant.now();
                    List<List<String>> rows = new ArrayList<>(
                            List.of(List.of("NAME", "STATUS", "CPU", "MEMORY", "DISK", "SESSIONS")));
                    Map<Path, Long> sizes = list.used();
                    for (Box b : shown) {
                        Optional<ProcessHandle> vm = machine(b);
                        Duration total = vm.flatMap(p -> p.info().totalCpuDuration()).orElse(Duration.ZERO);
                        Duration last = before.put(b.name, total);
                        rows.add(List.of(b.name, b.status, last == null || vm.isEmpty() ? "-"
                                : Math.max(0, Math.round(total.minus(last).toMillis() / 10.0 / seconds)) + "%",
                                vm.map(p -> ListAll.size(resident(list.lima, p))).orElse("-") + "/"
                                        + ListAll.size(b.memory),
                                ListAll.size(list.used(b, sizes)) + "/" + ListAll.size(b.disk),
                                Session.text(Session.of(list.lima, b.name))));
                    }
                    host.out.print(
                            "\033[H\033[2J" + String.join("\n", ListAll.columns(rows)) + "\n\nAny key ends this.");
                    host.out.flush();
                } while (Lima.io(host.in::read) < 0);
            } finally {
                stty(saved);
                Runtime.getRuntime().removeShutdownHook(hook);
                host.out.println();
            }
            return 0;
        }

        /** The process that runs the machine: QEMU, or the host agent itself where that does (vz). */
        private static Optional<ProcessHandle> machine(Box box) {
            return Stream.of(box.vmType + ".pid", "ha.pid").map(box.dir::resolve).filter(Files::exists).findFirst()
                    .map(f -> Lima.io(() -> Files.readString(f).strip())).filter(p -> p.matches("[0-9]{1,9}"))
                    .flatMap(p -> ProcessHandle.of(Long.parseLong(p)));
        }

        private static long resident(Lima lima, ProcessHandle process) {
            String kib = lima.run(Duration.ofSeconds(10), null, List.of("ps", "-o", "rss=", "-p", "" + process.pid()))
                    .out().strip();
            return kib.matches("[0-9]+") ? Long.parseLong(kib) * 1024 : 0;
        }

        private static String stty(String words) {
            return Lima.io(() -> {
                Process stty = new ProcessBuilder("sh", "-c", "exec stty " + words)
                        .redirectInput(ProcessBuilder.Redirect.INHERIT).start();
                String said = new String(stty.getInputStream().readAllBytes(), UTF_8);
                stty.waitFor();
                return said;
            });
        }
    }

    @Command(name = "start", sortOptions = false, description = {"Starts sandboxes; a running one stays as it is.", ""},
            footer = {"", "Examples:", "  sandboxes start web", "  sandboxes start --all"})
    static final class Start extends Acting {
        @Mixin
        Targets targets = new Targets();

        @Override
        int work() {
            targets.check(this);
            return each(chosen(targets), b -> {
                boot(b.name);
                talk.say(b.name + " is running");
            });
        }
    }

    @Command(name = "stop", sortOptions = false, description = {"Stops sandboxes, several at once.", ""},
            footer = {"", "Examples:", "  sandboxes stop .", "  sandboxes stop web api --force",
                    "  sandboxes stop --all --when-idle"})
    static final class Stop extends Ending {
        @Mixin
        Targets targets = new Targets();

        @Override
        int work() {
            targets.check(this);
            return each(chosen(targets), b -> ending(b.name, lock -> {
                halt(b.name);
                Lima.io(() -> Files.deleteIfExists(owed(b.name)));
            }));
        }
    }

    @Command(name = "restart", sortOptions = false, description = {"Stops sandboxes and starts them again.", ""},
            footer = {"", "Examples:", "  sandboxes restart web", "  sandboxes restart . --when-idle"})
    static final class Restart extends Ending {
        @Mixin
        Targets targets = new Targets();

        @Override
        int work() {
            targets.check(this);
            return each(chosen(targets), b -> {
                ending(b.name, lock -> halt(b.name));
                boot(b.name);
                talk.say(b.name + " is running");
            });
        }
    }

    @Command(name = "delete", sortOptions = false,
            description = {"Deletes sandboxes with their snapshots, after asking.",
                    "Project directories are never touched.%n"},
            footer = {"", "Examples:", "  sandboxes delete web", "  sandboxes delete --all --yes --force",
                    "  sandboxes delete --unused-bases"})
    static final class Delete extends Ending {
        @Mixin
        Targets targets = new Targets();

        @Option(names = "--unused-bases", description = "The bases without clones that new sandboxes do not need.")
        boolean unusedBases;

        @Override
        boolean takesBases() {
            return true;
        }

        @Override
        int work() {
            if (unusedBases) {
                if (targets.all || !targets.names.isEmpty()) {
                    throw new Lima.Failure(2, "--unused-bases stands alone");
                }
                return deleteAll(unused(all()));
            }
            targets.check(this);
            targets.names.forEach(this::settle);
            List<Box> all = all();
            List<String> gone = targets.names.stream()
                    .filter(n -> !Host.isPath(n) && named(n, all).isEmpty()).toList();
            gone.forEach(n -> {
                talk.say("there is no sandbox " + n + " (any more)");
                if (n.matches("[A-Za-z0-9][A-Za-z0-9._-]*") && !n.startsWith("base-")) { // limactl may have deleted it
                    forget(n);
                    follow(n, Optional.empty());
                    Lima.io(() -> Files.deleteIfExists(Reset.journal(lima, n)));
                }
            });
            targets.names.removeAll(gone);
            return targets.all || !targets.names.isEmpty() ? deleteAll(chosen(targets)) : 0;
        }

        /**
         * The bases that nothing was cloned from and nothing would be: neither a new sandbox of the present template
         * (SANDBOX_TEMPLATE, else ours) nor an existing one that is reset.
         */
        private List<Box> unused(List<Box> all) {
            children(lima.home.resolve("_sandbox/images")).map(i -> i.getName().replaceFirst("\\.qcow2$", ""))
                    .filter(name -> all.stream().noneMatch(b -> name.equals(b.mark.get("base"))))
                    .forEach(this::settle); // a deletion that was killed half-way
            String own = host.env.getOrDefault("SANDBOX_TEMPLATE", "");
            Set<String> needed = new TreeSet<>(told(own.isEmpty() ? List.of("--print-base")
                    : List.of("--print-base", "--template", own)).lines().toList());
            all.stream().filter(Box::isSandbox).flatMap(b -> Reset.base(b, all).stream())
                    .forEach(b -> needed.add(b.name));
            List<Box> unused = all.stream().filter(b -> b.kind().equals("base") && !needed.contains(b.name)
                    && clones(b, all).isEmpty()).toList();
            if (unused.isEmpty()) {
                talk.say("no base is unused" + (needed.isEmpty() ? "" : "; new sandboxes and resets need "
                        + String.join(", ", needed)));
            }
            return unused;
        }

        private int deleteAll(List<Box> boxes) {
            if (boxes.isEmpty()) {
                return 0;
            }
            List<Box> all = all();
            for (Box b : boxes) {
                boolean base = b.kind().equals("base");
                if (base && !clones(b, all).isEmpty()) {
                    throw new Lima.Failure("the base " + b.name + " stays: the disks of "
                            + String.join(", ", clones(b, all)) + " lie on its own");
                }
                if (!base && b.isProtected()) {
                    throw new Lima.Failure(
                            b.name + " is protected. To delete it all the same, first: limactl unprotect "
                                    + b.name);
                }
            }
            talk.confirm("Delete " + boxes.stream().map(this::describe).collect(Collectors.joining(", "))
                    + "? Project directories stay as they are.");
            return each(boxes, b -> ending(b.name, lock -> delete(b, lock)));
        }

        private String describe(Box b) {
            int tags = Tag.of(lima, b.name).size();
            return b.name + (tags == 0 ? "" : " with " + tags + (tags == 1 ? " snapshot" : " snapshots"))
                    + trial(b.name).map(t -> " (" + t + ")").orElse("");
        }

        private void delete(Box box, Life.Lock lock) {
            talk.say("deleting " + box.name + " ...");
            boolean base = box.kind().equals("base");
            if (base) {
                if (!clones(box, all()).isEmpty()) {
                    throw new Lima.Failure(box.name + " was cloned just now");
                }
                lima.run(Duration.ofMinutes(1), null, List.of("limactl", "unprotect", box.name));
            }
            lock.making("delete " + box.name, null);
            life(box.name).delete(box.name);
            forget(box.name);
            follow(box.name, Optional.empty());
            Lima.io(() -> Files.deleteIfExists(Reset.journal(lima, box.name)));
            lock.making("", null);
            talk.say(box.name + " is deleted");
        }
    }

    @Command(name = "reset", sortOptions = false,
            description = {"Makes a sandbox anew.",
                    "Its directories, resources, template and published ports stay, and nothing else.%n"},
            footer = {"", "Examples:", "  sandboxes reset web", "  sandboxes reset . --yes --force"})
    static final class Reset extends Ending {
        @Parameters(paramLabel = "NAME", description = "Its name, or a directory that it has mounted.")
        String name;

        @Option(names = "--template", paramLabel = "T", description = "Make it of another template.")
        String template;

        /** Of what it is made anew, in words. */
        private String of;
        private List<String> agents = List.of();

        @Override
        int work() {
            settle(name);
            Optional<Box> before = Host.isPath(name) || named(name, all()).isPresent()
                    ? Optional.of(one(name, all())) : Optional.empty();
            String its = before.map(b -> b.name).orElse(name);
            Path journal = journal(lima, its);
            if (before.isEmpty() && !Files.exists(journal)) {
                one(name, all()); // says that there is none
            }
            host.script(lima, "sandbox"); // before anything goes: is there a sandbox command at all?
            boolean running = Files.exists(journal) ? Lima.io(() -> Files.readString(journal)).startsWith("Running")
                    : before.map(b -> !b.is("Stopped") || Files.exists(owed(its))).orElse(true);
            if (before.isPresent()) {
                Box box = before.get();
                if (box.isProtected()) {
                    throw new Lima.Failure(its + " is protected. To reset it all the same, first: limactl unprotect "
                            + its);
                }
                List<String> again = words(box, all());
                talk.confirm("Make " + its + " anew, of " + of + "? What goes: all files in it outside of mounted"
                        + " directories, so logins, tools that were installed, Docker's images and volumes, and its "
                        + Tag.of(lima, its).size() + " snapshots. What stays: " + box.mountsText()
                        + (agents.isEmpty() ? "" : ", " + String.join(", ", agents) + " (installed anew)")
                        + ", its published ports, " + box.cpus + " cpus, " + ListAll.size(box.memory) + " memory, "
                        + ListAll.size(box.disk) + " disk." + trial(its).map(t -> " And " + t + ".").orElse(""));
                talk.say("making " + its + " anew, of " + of);
                String forwards = Files.exists(journal) ? forwards(journal) : "" + forwards(box);
                ending(its, lock -> {
                    Host.write(journal, (running ? "Running " : "Stopped ") + forwards + "\n"
                            + String.join("\n", again));
                    lock.making("delete " + its, null);
                    talk.say("deleting " + its + " ...");
                    life(its).delete(its);
                    forget(its);
                    lock.making("", null);
                });
            }
            List<String> words = new ArrayList<>(talk.yes ? List.of() : List.of("--yes")); // it was asked above
            words.addAll(Lima.io(() -> Files.readAllLines(journal)).stream().skip(1).toList());
            if (sandbox(words) != 0) {
                throw new Lima.Failure(its + " was deleted and not made anew, see above. To try again: " + host.command
                        + " reset " + its);
            }
            Box after = now(its).orElseThrow(() -> new Lima.Failure(its + " was not made"));
            before.filter(b -> !b.sameShape(after)).ifPresent(b -> {
                throw new Lima.Failure(its + " was made otherwise than it was: " + after.mountsText() + ", "
                        + after.cpus + " cpus, " + ListAll.size(after.memory) + ", " + ListAll.size(after.disk));
            });
            JsonNode forwards = Lima.io(() -> Lima.Json.MAPPER.readTree(forwards(journal)));
            if (!Set.copyOf(list(forwards)).equals(Set.copyOf(list(forwards(after))))) {
                around(after, () -> Yaml.set(this, after, List.of(".portForwards = " + forwards), b -> true));
            }
            Lima.io(() -> Files.deleteIfExists(journal));
            if (!running) {
                ending(its, lock -> halt(its));
            }
            talk.say(its + " is as new");
            return 0;
        }

        /** The base that it would be a clone of: the newest of its template. */
        static Optional<Box> base(Box box, List<Box> all) {
            return all.stream().filter(b -> b.kind().equals("base") && b.mark.containsKey("ready")
                    && b.mark.get("template").equals(box.mark.get("template")))
                    .max(Comparator.comparing(b -> Long.parseLong(b.mark.get("ready"))));
        }

        /** The words that say of what it is made again: what it was made of, if that is still there. See {@link #of}. */
        private List<String> origin(Box box, List<Box> all) {
            String golden = box.mark.get("from");
            Optional<Box> source = golden == null ? Optional.empty() : named(golden, all).filter(Box::isSandbox);
            Optional<Box> base = base(box, all);
            String own = template != null ? template
                    : URLDecoder.decode(box.mark.getOrDefault("of", ""), UTF_8);
            if (template == null && source.isPresent()) {
                if (!source.get().is("Stopped") || source.get().disk > box.disk) {
                    throw new Lima.Failure(box.name + " was made from " + golden + ", which "
                            + (source.get().is("Stopped") ? "has a larger disk now" : "is to be stopped first: "
                                    + host.command + " stop " + golden));
                }
                of = golden;
                return List.of("--from", golden);
            }
            if (template == null && box.mark.containsKey("base") && base.isPresent()) {
                of = base.get().name + (golden == null ? "" : ", as " + golden + ", whose clone it was, is gone");
                return List.of("--from", base.get().name);
            }
            if (own.startsWith("/") && !Files.exists(Path.of(own))) {
                throw new Lima.Failure("the template that " + box.name + " was made of is gone: " + own
                        + "\n--template T names another one.");
            }
            of = (own.isEmpty() ? "sandbox's own template" : own) + " as it is now"
                    + (box.mark.containsKey("base") ? ", as its base is gone" : "");
            List<String> words = new ArrayList<>(List.of("--vm-type", box.vmType));
            words.addAll(own.isEmpty() ? List.of() : List.of("--template", own));
            words.addAll(box.mark.containsKey("base") ? List.of() : List.of("--no-base"));
            return words;
        }

        /** The words for {@code sandbox} that make it again; refused here is what could fail once the old one is gone. */
        private List<String> words(Box box, List<Box> all) {
            List<String> words = new ArrayList<>(List.of("--force-dir", "--name", box.name,
                    "--cpus", "" + box.cpus, "--memory", gib(box.memory), "--disk", gib(box.disk)));
            words.addAll(origin(box, all));
            agents = children(lima.home.resolve("_sandbox/agents")).filter(a -> new File(a, box.name).exists())
                    .map(File::getName).sorted().toList();
            agents.forEach(a -> words.addAll(List.of("--add-agent", a)));
            Map<String, String> typed = typed(box);
            if (box.mounts().isEmpty()) {
                words.add("--mount-none");
            }
            for (Mount m : box.mounts()) {
                if (!Files.isDirectory(m.path) || m.path.toString().contains("\n")) {
                    throw new Lima.Failure("the directory " + m.path + " that " + box.name + " has mounted is gone."
                            + " First make it, or take it out: " + host.command + " edit " + box.name + " --unmount "
                            + m.path);
                }
                boolean first = !words.contains("--dir");
                words.addAll(first ? List.of("--dir", typed.getOrDefault(m.path.toString(), m.path.toString()))
                        : List.of("--mount", m.path + (m.writable ? ":w" : "")));
                if (first && !m.writable) {
                    words.add("--read-only");
                }
            }
            box.kept().forEach((port, guest) -> words.addAll(List.of("--publish", port + ":" + guest)));
            words.add("true");
            return words;
        }

        /** Of mounts that were typed through a symlink: how. sandbox makes these links in a provision script. */
        private static Map<String, String> typed(Box box) {
            Map<String, String> typed = new HashMap<>();
            for (JsonNode p : box.config.path("provision")) {
                String script = p.path("script").asText();
                if (script.contains("PARAM_sandbox")) {
                    Pattern.compile("\\|\\| ln -s '(.*)' '(.*)'$", Pattern.MULTILINE).matcher(script).results()
                            .forEach(
                                    m -> typed.put(m.group(1).replace("'\\''", "'"), m.group(2).replace("'\\''", "'")));
                }
            }
            typed.entrySet().removeIf(e -> !Box.real(e.getValue()).equals(e.getKey()));
            return typed;
        }

        private static String forwards(Path journal) {
            return Lima.io(() -> Files.readAllLines(journal)).get(0).split(" ", 2)[1];
        }

        private static List<JsonNode> list(JsonNode array) {
            List<JsonNode> list = new ArrayList<>();
            array.forEach(list::add);
            return list;
        }

        /** Its forwards, ranges too, which --publish does not know. */
        private static JsonNode forwards(Box box) {
            return Lima.io(() -> new YAMLMapper().readTree(box.dir.resolve("lima.yaml").toFile())).path("portForwards");
        }

        private static String gib(long bytes) {
            return String.format(Locale.ROOT, "%.3f", bytes / (double) (1L << 30)).replaceAll("\\.?0+$", "");
        }

        /** What is being made anew: written before the old one goes, for the same command after a kill -9. */
        static Path journal(Lima lima, String name) {
            return lima.home.resolve("_sandbox/reset").resolve(name);
        }
    }

    @Command(name = "rename", sortOptions = false,
            description = {"Gives a sandbox another name; its snapshots come along.", ""},
            footer = {"", "Example:", "  sandboxes rename web shop"})
    static final class Rename extends Ending {
        @Parameters(paramLabel = "NAME", index = "0", description = "Its name, or a directory that it has mounted.")
        String old;

        @Parameters(paramLabel = "NEW", index = "1", description = "The name that it gets.")
        String to;

        @Override
        int work() {
            settle(old);
            List<Box> all = all();
            Path notes = lima.home.resolve("_sandbox/renames");
            if (!Host.isPath(old) && named(old, all).isEmpty() && named(to, all).filter(Box::isSandbox).isPresent()) {
                talk.say("there is no sandbox " + old + " (any more), and there is " + to);
                Lima.io(() -> Files.deleteIfExists(notes.resolve(old)));
                if (Files.exists(owed(to))) {
                    boot(to);
                }
                return 0;
            }
            Box box = one(old, all);
            if (!to.matches("[A-Za-z0-9]+([._-][A-Za-z0-9]+)*") || to.toLowerCase(Locale.ROOT).matches(".*\\.ya?ml")
                    || to.length() > (Host.mac() ? 76 : 80) - lima.home.toString().length()) {
                throw new Lima.Failure(2, "'" + to + "' cannot be a sandbox's name: letters, digits, and single . _ -"
                        + " between them, and not too long for Lima's sockets");
            }
            if (box.name.equals(to)) {
                talk.say(to + " is its name");
                return 0;
            }
            if (box.isProtected()) {
                throw new Lima.Failure(box.name + " is protected. To rename it all the same, first: limactl unprotect "
                        + box.name);
            }
            boolean running = box.is("Running") || Files.exists(owed(box.name));
            Path note = notes.resolve(box.name);
            try (Life.Lock target = life(to).lock(to)) { // first this one, as clone and sandbox --from do
                ending(box.name, lock -> {
                    boolean copied = Files.exists(note) && Lima.io(() -> Files.readString(note)).equals(to)
                            && Files.exists(lima.home.resolve(to).resolve("lima.yaml"));
                    if (!copied && Files.exists(lima.home.resolve(to))) {
                        throw new Lima.Failure("there is an instance " + to + " already");
                    }
                    if (!copied) {
                        forget(to); // of one of that name that limactl deleted
                    }
                    if (running) {
                        Host.write(owed(box.name), "");
                    }
                    halt(box.name);
                    Host.write(note, to);
                    if (!copied) {
                        talk.say("copying " + box.name + " to " + to + " ...");
                        copy(box.name, target);
                    }
                    move(box.name, lock);
                    Lima.io(() -> Files.deleteIfExists(note));
                });
            } catch (Lima.Failure failure) {
                if (Files.exists(owed(box.name))) {
                    boot(box.name);
                }
                throw failure;
            }
            talk.say(box.name + " is now " + to);
            if (running) {
                boot(to);
            }
            return 0;
        }

        /**
         * limactl rename, interrupted, leaves either half a copy or half of the old one; a clone leaves the old one
         * whole. A socket that a hard stop left in sock/ fails it, and so does a sock/ with mode 0000, which a clone has
         * until its first start (both seen on 2.2.0).
         */
        private void copy(String name, Life.Lock target) {
            life(name).sweep(name);
            lima.run(Duration.ofMinutes(1), null, List.of("chmod", "-f", "700", lima.home.resolve(name) + "/sock"));
            target.making("clone " + to, null);
            Lima.Result r = life(to).limactl(List.of("clone", "--tty=false", name, to), target, () -> true);
            boolean whole = r.code() == 0 && now(to).filter(b -> b.is("Stopped") && b.isSandbox()).isPresent();
            if (!whole) {
                life(to).delete(to);
            }
            target.making("", null);
            if (!whole) {
                throw new Lima.Failure("limactl clone of " + name + " failed: " + Lima.reason(r.err()));
            }
        }

        private void move(String name, Life.Lock lock) {
            hand(name, to);
            follow(name, Optional.of(to));
            lock.making("delete " + name, null);
            life(name).delete(name);
            forget(name);
            lock.making("", null);
        }
    }

    // ---------------------------------------------------------------------------- edit, ports, clone, usage, trim, cp

    /** Processors, memory and disk that are asked for; empty fields ask for nothing. */
    static final class Sizes {
        @Option(names = "--cpus", paramLabel = "N", description = "Processors.")
        Integer cpus;

        @Option(names = "--memory", paramLabel = "GIB", description = "Memory in GiB.")
        String memory;

        @Option(names = "--disk", paramLabel = "GIB", description = "Size of the disk in GiB; it cannot shrink.")
        String disk;

        /** What limactl --set takes; Lima itself takes 0 and 99 processors (seen on 2.2.0). */
        List<String> settings(Box is) {
            int there = Runtime.getRuntime().availableProcessors();
            if (cpus != null && (cpus < 1 || cpus > there)) {
                throw new Lima.Failure(2, "--cpus " + cpus + ": this computer has " + there);
            }
            long total = java.lang.management.ManagementFactory
                    .getOperatingSystemMXBean() instanceof com.sun.management.OperatingSystemMXBean os
                            ? os.getTotalMemorySize() : Long.MAX_VALUE;
            long space = Lima.io(() -> Files.getFileStore(is.dir).getTotalSpace());
            if (memory != null && bytes("--memory", memory) > total) {
                throw new Lima.Failure(2, "--memory " + memory + ": this computer has " + gib(total));
            }
            if (disk != null && bytes("--disk", disk) < is.disk) {
                throw new Lima.Failure(2, "--disk " + disk + ": the disk of " + is.name + " has "
                        + gib(is.disk) + ", and a disk cannot shrink");
            }
            if (disk != null && bytes("--disk", disk) > space) {
                throw new Lima.Failure(2, "--disk " + disk + ": the file system of " + is.dir + " has " + gib(space));
            }
            List<String> settings = new ArrayList<>();
            if (cpus != null && cpus != is.cpus) {
                settings.add(".cpus = " + cpus);
            }
            Map.of("memory", Optional.ofNullable(memory), "disk", Optional.ofNullable(disk)).forEach((key, size) -> size
                    .filter(s -> bytes("--" + key, s) != is.node.path(key).asLong())
                    .ifPresent(s -> settings.add("." + key + " = \"" + number("--" + key, s) + "GiB\"")));
            return settings;
        }

        /** Does limactl tell of what was asked? */
        boolean hold(Box is) {
            return (cpus == null || cpus == is.cpus)
                    && (memory == null || bytes("", memory) == is.memory)
                    && (disk == null || bytes("", disk) == is.disk);
        }

        private static String number(String what, String text) {
            Matcher m = Pattern.compile("([0-9]{1,5}(\\.[0-9]{1,3})?)(?i: ?(g|gb|gib))?").matcher(text.strip());
            if (!m.matches() || Double.parseDouble(m.group(1)) <= 0) {
                throw new Lima.Failure(2, what + " takes a number of GiB above 0, as in 4 or 1.5, not '" + text + "'");
            }
            return m.group(1);
        }

        private static long bytes(String what, String text) {
            return Math.round(Double.parseDouble(number(what, text)) * (1L << 30));
        }

        static String gib(long bytes) {
            return bytes < 1L << 30 ? Math.round(bytes / (double) (1L << 20)) + " MiB"
                    : String.format(Locale.ROOT, "%.1f GiB", bytes / (double) (1L << 30)).replace(".0 ", " ");
        }
    }

    /** Lima's YAML of an instance: written at once or not at all, and read back. */
    static final class Yaml {
        private Yaml() {}

        /**
         * Carries out settings in a copy, by limactl itself, which keeps comments and refuses what it cannot read; for a
         * file it does so while the instance runs (limactl tells it from a name by its ending). Then puts the copy in
         * place; if limactl does not tell of what was wanted, the old text again.
         */
        static void set(Verb verb, Box is, List<String> settings, Predicate<Box> wanted) {
            Path copy = verb.lima.state("edit").resolve(is.name + ".set.yaml");
            String before = Lima.io(() -> Files.readString(is.dir.resolve("lima.yaml")));
            Host.write(copy, before);
            try {
                List<String> call = new ArrayList<>(List.of("edit", "--tty=false"));
                settings.forEach(s -> call.addAll(List.of("--set", s)));
                call.add(copy.toString());
                verb.lima.limactl(call.toArray(String[]::new));
                put(verb, is, Lima.io(() -> Files.readString(copy)), wanted);
            } finally {
                Lima.io(() -> Files.deleteIfExists(copy));
            }
        }

        static void put(Verb verb, Box is, String text, Predicate<Box> wanted) {
            Path yaml = is.dir.resolve("lima.yaml");
            String before = Lima.io(() -> Files.readString(yaml));
            Host.write(yaml, text);
            if (verb.all().stream().filter(b -> b.name.equals(is.name) && b.isSandbox() && !b.is("Broken"))
                    .noneMatch(wanted)) {
                Host.write(yaml, before);
                throw new Lima.Failure(is.name + " was not changed: limactl does not tell of what was wanted, so its"
                        + " lima.yaml is as before");
            }
        }
    }

    @Command(
            name = "edit",
            customSynopsis = "sandboxes edit [OPTIONS] NAME%n",
            description = {
                    "Changes mounts, processors, memory and disk of a sandbox.", "",
                    "It is stopped for that, and started again if it was running. Without options",
                    "its lima.yaml is opened in $VISUAL or $EDITOR.%n"
            },
            sortOptions = false,
            footer = {
                    "", "Examples:", "  sandboxes edit myapp --memory 8 --cpus 4",
                    "  sandboxes edit myapp --mount ~/libs --unmount ~/old", "  sandboxes edit ."
            })
    static final class Edit extends Ending {
        @Parameters(paramLabel = "NAME", description = "The sandbox; '.' is this directory's.")
        String name;

        @Option(names = "--mount", paramLabel = "DIR[:w]",
                description = "Mount one more directory, with :w writable. Repeatable.")
        List<String> mount = new ArrayList<>();

        @Option(names = "--mount-only", paramLabel = "DIR[:w]", description = "Mount this and no other. Repeatable.")
        List<String> mountOnly = new ArrayList<>();

        @Option(names = "--unmount", paramLabel = "DIR", description = "Mount it no more. Repeatable.")
        List<String> unmount = new ArrayList<>();

        @Option(names = "--mount-none", description = "Mount nothing at all.")
        boolean mountNone;

        @Option(names = "--force-dir", description = "Mount what holds keys or too much.")
        boolean forceDir;

        @Mixin
        Sizes sizes = new Sizes();

        @Override
        int work() {
            if (mountNone && !(mount.isEmpty() && mountOnly.isEmpty() && unmount.isEmpty())
                    || !mountOnly.isEmpty() && !(mount.isEmpty() && unmount.isEmpty())) {
                throw new Lima.Failure(2,
                        "--mount-none and --mount-only stand alone, without another option of mounts");
            }
            Box is = box(name);
            boolean mounts = mountNone || !mount.isEmpty() || !mountOnly.isEmpty() || !unmount.isEmpty();
            if (!mounts && sizes.cpus == null && sizes.memory == null && sizes.disk == null) {
                return editor(is);
            }
            List<String> settings = sizes.settings(is);
            Set<String> wanted = mounts ? wanted(is) : is.mountWords();
            if (!wanted.equals(is.mountWords())) {
                settings.addAll(mountSettings(this, is, null, wanted, forceDir));
            }
            boolean ran = Files.exists(owed(is.name));
            if (settings.isEmpty() && !ran) {
                talk.say(is.name + " is so already");
                return 0;
            }
            around(is, () -> {
                if (!settings.isEmpty()) {
                    Yaml.set(this, is, settings, b -> sizes.hold(b) && b.mountWords().equals(wanted));
                }
            });
            Box now = box(is.name);
            talk.say(is.name + " has " + now.cpus + " cpus, " + Sizes.gib(now.memory)
                    + " memory, " + Sizes.gib(now.disk) + " disk, mounts: "
                    + (now.mountWords().isEmpty() ? "none" : String.join(", ", now.mountWords())));
            return 0;
        }

        private Set<String> wanted(Box is) {
            Set<String> wanted = mountNone || !mountOnly.isEmpty() ? new LinkedHashSet<>()
                    : new LinkedHashSet<>(is.mountWords());
            Stream.concat(unmount.stream(), Stream.concat(mount.stream(), mountOnly.stream())).map(this::typed)
                    .forEach(m -> wanted.removeIf(w -> w.replaceFirst(":w$", "").equals(m.replaceFirst(":w$", ""))));
            Stream.concat(mount.stream(), mountOnly.stream()).map(this::typed).forEach(wanted::add);
            return wanted;
        }

        private String typed(String word) {
            String path = word.replaceFirst(":w$", "");
            return Box.real(host.path(path).toString()) + (word.endsWith(":w") ? ":w" : "");
        }

        /** What gives an instance these mounts: told by sandbox, which knows what may be mounted and how odd paths are. */
        static List<String> mountSettings(Verb verb, Box is, String dir, Set<String> mounts, boolean forceDir) {
            List<String> words = new ArrayList<>(List.of("--print-settings", "--yes", "--name", is.name));
            mounts.forEach(m -> words.addAll(List.of("--mount", m)));
            words.addAll(dir == null ? List.of() : List.of("--dir", dir));
            words.addAll(forceDir ? List.of("--force-dir") : List.of());
            return verb.told(words).lines().toList();
        }

        /** A text that is refused stays as a draft, which the next call opens again. */
        private int editor(Box is) {
            String editor = Stream.of("VISUAL", "EDITOR").map(host.env::get).filter(e -> e != null && !e.isBlank())
                    .findFirst().orElse("vi");
            if (!host.stdinTty || !host.stdoutTty) {
                throw new Lima.Failure(2, "nothing is to be changed, and there is no terminal for " + editor);
            }
            Path draft = lima.state("edit").resolve(is.name + ".yaml");
            String before = Lima.io(() -> Files.readString(is.dir.resolve("lima.yaml")));
            if (Files.exists(draft)) {
                talk.say("opening the draft that was refused: " + draft);
            } else {
                Host.write(draft, before);
            }
            int code = Lima.io(() -> {
                ProcessBuilder builder = new ProcessBuilder("sh", "-c", editor + " \"$1\"", "sh", draft.toString());
                builder.environment().clear();
                builder.environment().putAll(host.env);
                return builder.inheritIO().start().waitFor();
            });
            String after = Lima.io(() -> Files.readString(draft));
            if (code != 0 || after.equals(before) || after.isBlank()) {
                Lima.io(() -> Files.deleteIfExists(draft));
                talk.say("nothing is changed in " + is.name + (code == 0 ? "" : ": " + editor + " ended with " + code));
                return code == 0 ? 0 : 125;
            }
            Lima.Result valid = lima.run(Duration.ofMinutes(2), null,
                    List.of("limactl", "template", "validate", draft.toString()));
            if (valid.code() != 0) {
                throw new Lima.Failure(is.name + " is not changed: " + Lima.reason(valid.err())
                        + "\nThe same command opens your text again, which is kept in " + draft);
            }
            around(is, () -> Yaml.put(this, is, after,
                    b -> b.disk >= is.disk && b.cpus > 0));
            Lima.io(() -> Files.deleteIfExists(draft));
            talk.say(is.name + " is changed");
            return 0;
        }
    }

    @Command(
            name = "ports",
            customSynopsis = "sandboxes ports [OPTIONS] NAME%n",
            description = {
                    "Shows what listens in a sandbox; opens and closes forwards of it.", "",
                    "A forward works at once, on 127.0.0.1, until the sandbox stops. With --keep it",
                    "is also written down and made by Lima from the next start on.%n"
            },
            sortOptions = false,
            footer = {"", "Examples:", "  sandboxes ports web --add 3000", "  sandboxes ports web --add 8080:80 --keep",
                    "  sandboxes ports web --remove 8080"
            })
    static final class Ports extends Acting {
        @Parameters(paramLabel = "NAME", description = "The sandbox; '.' is this directory's.")
        String name;

        @Option(names = "--add", paramLabel = "[HOST:]GUEST", description = "Forward a port to 127.0.0.1. Repeatable.")
        List<String> add = new ArrayList<>();

        @Option(names = "--remove", paramLabel = "PORT", description = "Forward this host port no more. Repeatable.")
        List<Integer> remove = new ArrayList<>();

        @Option(names = "--keep", description = "Write what is added into the sandbox's configuration too.")
        boolean keep;

        @Option(names = "--json", description = "Write JSON.")
        boolean json;

        @Override
        int work() {
            Map<Integer, Integer> adding = new TreeMap<>();
            for (String a : add) {
                Matcher m = Pattern.compile("(?:([0-9]{1,5}):)?([0-9]{1,5})").matcher(a);
                int guest = m.matches() ? Integer.parseInt(m.group(2)) : 0;
                int port = m.matches() && m.group(1) != null ? Integer.parseInt(m.group(1)) : guest;
                if (guest < 1 || guest > 65535 || port < 1 || port > 65535) {
                    throw new Lima.Failure(2, "--add takes [HOST:]GUEST, ports of 1 to 65535, not '" + a + "'");
                }
                adding.put(port, guest);
            }
            if (keep && adding.isEmpty()) {
                throw new Lima.Failure(2, "--keep goes with --add");
            }
            Box is = keep || adding.isEmpty() ? box(name) : running(name);
            boolean runs = is.is("Running");
            if (runs) {
                life(is.name).connect(is.name, Duration.ofMinutes(1));
            }
            try (Life.Lock lock = life(is.name).lock(is.name)) {
                Map<Integer, Integer> live = live(is);
                if (!remove.isEmpty() || !adding.isEmpty()) {
                    change(is, live, adding, runs);
                } else {
                    show(is, live, runs);
                }
            }
            return 0;
        }

        private void change(Box is, Map<Integer, Integer> live, Map<Integer, Integer> adding, boolean runs) {
            Map<Integer, Integer> kept = is.kept();
            for (int port : remove) {
                boolean was = live.containsKey(port);
                if (was) {
                    master(is, "cancel", port, live.remove(port));
                    note(is, live);
                }
                boolean keptNow = kept.remove(port) != null;
                talk.say(!was && !keptNow ? port + " is not forwarded" : "127.0.0.1:" + port + " is forwarded no more"
                        + (keptNow && runs && !was ? " from the next start on" : ""));
            }
            adding.forEach((port, guest) -> {
                Optional<Box> other = all().stream().filter(b -> !b.name.equals(is.name)
                        && b.kept().containsKey(port) && (keep || b.is("Running"))).findFirst();
                if (other.isPresent()) {
                    throw new Lima.Failure("port " + port + " of this computer is kept for " + other.get().name
                            + ". Another one: --add " + (port == 65535 ? 1024 : port + 1) + ":" + guest);
                }
                boolean already = Objects.equals(kept.get(port), guest) && !live.containsKey(port) && !free(port);
                if (runs && !already) {
                    open(is, live, port, guest);
                } else if (!already && !free(port)) {
                    throw taken(port, guest);
                }
                if (keep) {
                    kept.put(port, guest);
                }
                talk.say("127.0.0.1:" + port + " is port " + guest + " of " + is.name
                        + (keep ? runs ? ", now and after each start" : " from the next start on" : " until it stops"));
            });
            if (!kept.equals(is.kept())) {
                List<Object> forwards = new ArrayList<>();
                kept.forEach((port, guest) -> forwards.add(Map.of("guestIP", "0.0.0.0", "guestIPMustBeZero", false,
                        "guestPort", guest, "hostIP", "127.0.0.1", "hostPort", port, "proto", "tcp")));
                JsonNode own = Lima.io(() -> new YAMLMapper().readTree(is.dir.resolve("lima.yaml").toFile()));
                own.path("portForwards").forEach(f -> {
                    if (f.path("ignore").asBoolean() || f.path("hostPort").asInt() == 0) {
                        forwards.add(f); // the rule that opens nothing stays last
                    }
                });
                String list = Lima.io(() -> Lima.Json.MAPPER.writeValueAsString(forwards));
                Yaml.set(this, is, List.of(".portForwards = " + list), b -> b.kept().equals(kept));
            }
        }

        /** Known before it is made: an equal one is no error to ssh, so that after a kill -9 the same call mends it. */
        private void open(Box is, Map<Integer, Integer> live, int port, int guest) {
            if (live.containsKey(port) && live.get(port) != guest) {
                throw new Lima.Failure("127.0.0.1:" + port + " is port " + live.get(port) + " of " + is.name
                        + ". To end that: --remove " + port);
            }
            if (live.isEmpty()) {
                List<String> call = new ArrayList<>(List.of("sh", "-c", "exec \"$@\" >/dev/null 2>&1", "sh"));
                call.addAll(lima.sshCommand(is.name, List.of("-S", forwardsSocket(is.name).toString(), "-MNf",
                        "-o", "ServerAliveInterval=20", "-o", "ServerAliveCountMax=6")));
                Lima.io(() -> Files.deleteIfExists(forwardsSocket(is.name)));
                lima.run(Duration.ofMinutes(2), null, call);
            }
            live.put(port, guest);
            note(is, live);
            if (master(is, "forward", port, guest).code() != 0) {
                live.remove(port);
                note(is, live);
                throw taken(port, guest);
            }
        }

        private static Lima.Failure taken(int port, int guest) {
            return new Lima.Failure(
                    "port " + port + " of this computer is taken by another program. Another one: --add "
                            + (port == 65535 ? 1024 : port + 1) + ":" + guest);
        }

        private static boolean free(int port) {
            try (ServerSocket socket = new ServerSocket()) {
                socket.setReuseAddress(true);
                socket.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
                return true;
            } catch (IOException e) {
                return false;
            }
        }

        private Lima.Result master(Box is, String what, int port, int guest) {
            return lima.run(Duration.ofMinutes(1), null,
                    lima.sshCommand(is.name, List.of("-S", forwardsSocket(is.name).toString(),
                            "-O", what, "-L", "127.0.0.1:" + port + ":localhost:" + guest)));
        }

        private void note(Box is, Map<Integer, Integer> live) {
            Host.write(lima.state("forwards").resolve(is.name), live.entrySet().stream()
                    .map(e -> e.getKey() + " " + e.getValue() + "\n").collect(Collectors.joining()));
        }

        /** The forwards of the connection, if it lives: of the host's port, the guest's. */
        private Map<Integer, Integer> live(Box is) {
            Map<Integer, Integer> live = new TreeMap<>();
            Path noted = lima.state("forwards").resolve(is.name);
            if (Files.exists(noted) && Files.exists(forwardsSocket(is.name)) && lima.run(Duration.ofMinutes(1), null,
                    lima.sshCommand(is.name, List.of("-S", forwardsSocket(is.name).toString(), "-O", "check")))
                    .code() == 0) {
                Lima.io(() -> Files.readAllLines(noted)).stream().map(l -> l.split(" "))
                        .forEach(l -> live.put(Integer.parseInt(l[0]), Integer.parseInt(l[1])));
            }
            return live;
        }

        private void show(Box is, Map<Integer, Integer> live, boolean runs) {
            Map<Integer, Map<String, Object>> rows = new TreeMap<>();
            String listening = runs ? guest(is, "sudo -n ss -Hltnp 2>/dev/null || ss -Hltnp\n") : "";
            for (String line : listening.lines().toList()) {
                String[] field = line.trim().split("\\s+");
                int colon = field.length < 4 ? -1 : field[3].lastIndexOf(':');
                if (colon > 0) {
                    Matcher program = Pattern.compile("\\(\\(\"([^\"]*)\"").matcher(line);
                    row(rows, Integer.parseInt(field[3].substring(colon + 1)), field[3].substring(0, colon)
                            .replaceFirst("%.*", ""), program.find() ? program.group(1) : "");
                }
            }
            Map<Integer, Integer> all = new TreeMap<>(is.kept());
            all.putAll(live);
            all.values().forEach(guest -> row(rows, guest, "", ""));
            rows.forEach((guest, row) -> row.put("forwards",
                    all.entrySet().stream().filter(e -> e.getValue().equals(guest))
                            .map(e -> Map.of("hostIP", "127.0.0.1", "hostPort", e.getKey(), "live",
                                    live.containsKey(e.getKey()),
                                    "kept", is.kept().containsKey(e.getKey())))
                            .toList()));
            if (json) {
                host.json(rows.values());
            } else {
                host.out.printf("%-6s %-16s %-16s %s%n", "GUEST", "ADDRESS", "PROGRAM", "THIS COMPUTER");
                rows.forEach((port, row) -> host.out.println(String.format("%-6d %-16s %-16s %s", port,
                        row.get("address"), row.get("program"), all.entrySet().stream()
                                .filter(e -> e.getValue().equals(port))
                                .map(e -> "127.0.0.1:" + e.getKey()
                                        + (is.kept().containsKey(e.getKey()) ? " (kept)" : ""))
                                .collect(Collectors.joining(", ")))
                        .stripTrailing()));
            }
            host.out.flush();
            if (!runs) {
                talk.say(is.name + " does not run, so nothing listens in it");
            }
        }

        private static Map<String, Object> row(Map<Integer, Map<String, Object>> rows, int port, String address,
                String program) {
            return rows.computeIfAbsent(port, p -> {
                Map<String, Object> row = new LinkedHashMap<>();
                row.put("guestPort", p);
                row.put("address", address);
                row.put("program", program.replaceAll("\\p{Cntrl}", "?"));
                return row;
            });
        }
    }

    @Command(
            name = "clone",
            customSynopsis = "sandboxes clone [OPTIONS] SOURCE NAME [DIR]%n",
            description = {
                    "Copies a stopped sandbox, or one of its snapshots.", "",
                    "All that is in it comes along. With DIR the copy sees that directory in place",
                    "of SOURCE's.%n"
            },
            sortOptions = false,
            footer = {"", "Examples:", "  sandboxes clone myapp experiment",
                    "  sandboxes clone --tag green myapp second ~/second"})
    static final class Clone extends Acting {
        @Parameters(index = "0", paramLabel = "SOURCE", description = "The sandbox; '.' is this directory's.")
        String source;

        @Parameters(index = "1", paramLabel = "NAME", description = "What the copy is called.")
        String name;

        @Parameters(index = "2", arity = "0..1", paramLabel = "DIR", description = "The one directory that it sees.")
        String dir;

        @Option(names = "--tag", paramLabel = "TAG", description = "Copy this snapshot instead of the present state.")
        String tag;

        @Option(names = "--start", description = "Start it.")
        boolean start;

        @Option(names = "--force-dir", description = "Mount DIR although it holds keys or too much.")
        boolean forceDir;

        @Mixin
        Sizes sizes = new Sizes();

        @Override
        int work() {
            if (!name.matches("[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")
                    || name.toLowerCase(Locale.ROOT).matches(".*\\.ya?ml")) {
                throw new Lima.Failure(2, "'" + name + "' cannot be a sandbox's name: letters, digits, and single . _ -"
                        + " between them");
            }
            if (tag != null && !tag.matches("[A-Za-z][A-Za-z0-9._-]*")) {
                throw new Lima.Failure(2, "'" + tag + "' cannot be a tag: it begins with a letter");
            }
            Box is = box(source);
            if (name.equals(is.name)) { // one lock cannot be had twice
                throw exists();
            }
            Set<String> mounts;
            try (Life.Lock lock = life(name).lock(name); Life.Lock held = life(is.name).lock(is.name)) {
                mounts = make(box(is.name), lock);
            }
            talk.say(name + " is a copy of " + is.name + (tag == null ? "" : " as it was at " + tag)
                    + ", logins included; it sees " + (mounts.isEmpty() ? "no directory" : String.join(", ", mounts))
                    + (dir == null && !mounts.isEmpty() ? ", as " + is.name + " does" : ""));
            if (!is.kept().isEmpty()) {
                talk.say("the ports that " + is.name + " forwards are not copied: " + is.kept().keySet());
            }
            if (start) {
                boot(name);
            }
            return 0;
        }

        private Lima.Failure exists() {
            return new Lima.Failure(name + " exists already. To delete it: " + host.command + " delete " + name);
        }

        /** A failure or an interruption leaves nothing of NAME: see Life.Lock.making. */
        private Set<String> make(Box is, Life.Lock lock) {
            if (all().stream().anyMatch(b -> b.name.equals(name)) || Files.exists(lima.home.resolve(name))) {
                throw exists();
            }
            if (!is.is("Stopped")) {
                throw new Lima.Failure(is.name + " is " + is.status.toLowerCase(Locale.ROOT)
                        + ", and only a stopped one can be cloned: " + host.command + " stop " + is.name);
            }
            Path kept = tag == null ? null : lima.state("snapshots").resolve(is.name).resolve(tag);
            boolean internal = tag != null && tags(is.name).contains(tag);
            boolean copied = tag != null && Files.exists(kept.resolve("meta.json")) && Lima.io(() -> Lima.Json.MAPPER
                    .readTree(kept.resolve("meta.json").toFile())).path("method").asText().equals("copy");
            if (tag != null && !internal && !copied) {
                throw new Lima.Failure(2, is.name + " has no snapshot " + tag + ". To see those it has: "
                        + host.sibling("snapshot") + " list " + is.name);
            }
            List<String> settings = sizes.settings(is);
            Set<String> wanted = is.mountWords();
            if (dir != null) {
                settings.addAll(Edit.mountSettings(this, is, dir, Set.of(), forceDir));
                JsonNode told = Lima.io(() -> Lima.Json.MAPPER.readTree(settings.get(settings.size() - 2)
                        .replaceFirst("^\\.mounts = ", "")));
                wanted = new LinkedHashSet<>();
                for (JsonNode m : told) {
                    wanted.add(Box.real(m.path("location").asText()) + (m.path("writable").asBoolean() ? ":w" : ""));
                }
            }
            if (!is.kept().isEmpty()) { // two cannot have one port of the host
                JsonNode own = Lima.io(() -> new YAMLMapper().readTree(is.dir.resolve("lima.yaml").toFile()));
                List<JsonNode> others = new ArrayList<>();
                own.path("portForwards").forEach(f -> {
                    if (f.path("ignore").asBoolean() || f.path("hostPort").asInt() == 0) {
                        others.add(f);
                    }
                });
                settings.add(".portForwards = " + Lima.io(() -> Lima.Json.MAPPER.writeValueAsString(others)));
            }
            life(is.name).sweep(is.name);
            lock.making("clone " + name, null);
            Thread hook = new Thread(() -> undo(lock));
            Runtime.getRuntime().addShutdownHook(hook);
            try {
                List<String> call = new ArrayList<>(List.of("clone", "--tty=false"));
                settings.forEach(s -> call.addAll(List.of("--set", s)));
                call.addAll(List.of(is.name, name));
                talk.say("cloning " + is.name);
                Lima.Result r = life(name).limactl(call, lock, () -> true);
                if (r.code() != 0) {
                    throw new Lima.Failure("limactl clone of " + is.name + " failed: " + Lima.reason(r.err()));
                }
                if (copied) {
                    restore(kept);
                } else if (internal) {
                    lima.limactl("snapshot", "apply", "--tag", tag, name);
                }
                for (String t : tags(name)) {
                    lima.limactl("snapshot", "delete", "--tag", t, name);
                }
                Set<String> mounts = wanted;
                if (all().stream().filter(b -> b.name.equals(name) && b.isSandbox())
                        .noneMatch(b -> b.is("Stopped") && sizes.hold(b) && b.mountWords().equals(mounts))) {
                    throw new Lima.Failure("limactl clone said that it made " + name + ", but not as it was asked");
                }
                lock.making("", null);
                return mounts;
            } catch (Lima.Failure failure) {
                undo(lock);
                throw failure;
            } finally {
                try {
                    Runtime.getRuntime().removeShutdownHook(hook);
                } catch (IllegalStateException shuttingDown) {
                    LockSupport.park(hook); // the lock is to be held until the hook is through; this process ends here
                }
            }
        }

        private void undo(Life.Lock lock) {
            lock.by.ifPresent(limactl -> {
                limactl.destroyForcibly();
                limactl.onExit().join();
            });
            life(name).delete(name);
            lock.making("", null);
        }

        /** The tags inside an instance's disk; none where Lima knows no such snapshots (VZ, a raw disk). */
        private List<String> tags(String instance) {
            Lima.Result r = lima.run(Duration.ofMinutes(1), null,
                    List.of("limactl", "snapshot", "list", "-q", instance));
            return r.code() != 0 ? List.of() : r.out().lines().map(String::strip).filter(t -> !t.isEmpty()).toList();
        }

        /** Puts a copied disk set in the place of the clone's; identity and configuration stay the clone's own. */
        private void restore(Path kept) {
            List<String> cp = System.getProperty("os.name").startsWith("Mac") ? List.of("cp", "-cf")
                    : List.of("cp", "-f", "--reflink=auto", "--sparse=always");
            for (File file : Optional.ofNullable(kept.toFile().listFiles(f -> f.isFile() && !Set.of("meta.json",
                    "lima.yaml", "lima-version", "vz-identifier").contains(f.getName()))).orElse(new File[0])) {
                List<String> call = new ArrayList<>(cp);
                call.addAll(List.of(file.toString(), lima.home.resolve(name).resolve(file.getName()).toString()));
                Lima.Result r = lima.run(Duration.ofMinutes(20), null, call);
                if (r.code() != 0) {
                    throw new Lima.Failure("copying the snapshot failed: " + r.err().strip());
                }
            }
        }
    }

    /** What instances really take of the host's disk: blocks, not the length of files with holes. */
    private static long onDisk(Lima lima, Box is) {
        String out = lima.run(Duration.ofMinutes(5), null, List.of("du", "-sk", is.dir.toString())).out();
        return out.isEmpty() ? 0 : Long.parseLong(out.split("\\s", 2)[0]) << 10;
    }

    @Command(
            name = "usage",
            customSynopsis = "sandboxes usage [--json] [NAME...]%n",
            description = {
                    "Shows what sandboxes use of memory, disk and this computer's disk.", "",
                    "The guests tell of theirs, and of Docker. Without NAME all of them.%n"
            },
            sortOptions = false,
            footer = {"", "Examples:", "  sandboxes usage", "  sandboxes usage --json myapp"})
    static final class Usage extends Verb {
        @Parameters(paramLabel = "NAME", arity = "0..*", description = "The sandbox; '.' is this directory's.")
        List<String> names = new ArrayList<>();

        @Option(names = "--json", description = "Write JSON, sizes in bytes.")
        boolean json;

        @Override
        int work() {
            List<Box> wanted = names.isEmpty() ? all().stream().filter(b -> b.isSandbox()).toList()
                    : names.stream().map(this::box).toList();
            List<Map<String, Object>> rows = wanted.stream().map(this::row).toList();
            if (json) {
                host.json(rows);
            } else {
                host.out.printf("%-18s %20s %20s %8s %9s%n", "NAME", "MEMORY", "DISK", "DOCKER", "HERE");
                rows.forEach(r -> host.out.printf("%-18s %20s %20s %8s %9s%n", r.get("name"), of(r, "memory"),
                        of(r, "disk"), r.get("docker") instanceof Long d ? Sizes.gib(d) : "-",
                        Sizes.gib((long) r.get("host"))));
            }
            host.out.flush();
            return 0;
        }

        private static String of(Map<String, Object> row, String what) {
            return (row.get(what + "Used") instanceof Long used ? Sizes.gib(used) + " of " : "")
                    + Sizes.gib((long) row.get(what));
        }

        private Map<String, Object> row(Box is) {
            Map<String, Object> row = new LinkedHashMap<>();
            row.put("name", is.name);
            row.put("status", is.status);
            row.put("memory", is.memory);
            row.put("disk", is.disk);
            row.put("host", onDisk(lima, is));
            if (is.is("Running")) {
                life(is.name).connect(is.name, Duration.ofMinutes(1));
                String told = guest(is, """
                        free -b | awk '/^Mem/ { print "memory", $3 }'
                        df -B1 --output=used / | awk 'NR == 2 { print "disk", $1 }'
                        timeout 60 docker system df --format '{{.Size}}' 2>/dev/null | awk '
                          { n = $1 + 0; u = $1; gsub(/[0-9.]/, "", u)
                            sum += n * (u == "kB" ? 1e3 : u == "MB" ? 1e6 : u == "GB" ? 1e9 : u == "TB" ? 1e12 : 1) }
                          END { if (NR) printf "docker %.0f\\n", sum }'
                        """);
                told.lines().map(l -> l.split(" ")).filter(l -> l.length == 2 && l[1].matches("[0-9]{1,18}"))
                        .forEach(l -> row.put(l[0].equals("docker") ? "docker" : l[0] + "Used", Long.parseLong(l[1])));
            }
            return row;
        }
    }

    @Command(
            name = "trim",
            customSynopsis = "sandboxes trim [OPTIONS] NAME...|--all%n",
            description = {
                    "Gives disk that running sandboxes no longer need back to this computer.", "",
                    "That is apt's downloads, with --docker unused images, containers and networks",
                    "too.%n"
            },
            sortOptions = false,
            footer = {"", "Examples:", "  sandboxes trim myapp", "  sandboxes trim --all --docker"})
    static final class Trim extends Acting {
        @Parameters(paramLabel = "NAME", arity = "0..*", description = "The sandbox; '.' is this directory's.")
        List<String> names = new ArrayList<>();

        @Option(names = "--all", description = "All running sandboxes.")
        boolean all;

        @Option(names = "--docker", description = "Remove what Docker does not use: docker system prune -af.")
        boolean docker;

        @Override
        int work() {
            if (names.isEmpty() != all) {
                throw new Lima.Failure(2, "say which: NAME... or --all");
            }
            List<Box> boxes = all ? all().stream().filter(b -> b.isSandbox() && b.is("Running")).toList()
                    : names.stream().map(this::running).toList();
            for (Box is : boxes) {
                life(is.name).connect(is.name, Duration.ofMinutes(1));
                long before = onDisk(lima, is);
                talk.say("trimming " + is.name);
                guest(is, "set -e\n" + (docker ? "docker system prune -af >/dev/null\n" : "")
                        + "sudo -n apt-get clean\nsync\nsudo -n fstrim -a || { [ $? -eq 64 ]; }\n");
                long after = onDisk(lima, is);
                host.out.println(is.name + " took " + Sizes.gib(before) + " here, now " + Sizes.gib(after)
                        + (after < before ? ": " + Sizes.gib(before - after) + " gained" : ": nothing gained"));
            }
            host.out.flush();
            return 0;
        }
    }

    @Command(
            name = "cp",
            customSynopsis = "sandboxes cp SRC DST%n",
            description = {
                    "Copies a file or a directory into a sandbox or out of it.", "",
                    "One of SRC and DST is NAME:PATH. DST is a directory that exists, or the copy's",
                    "own name. A - stands for stdin or stdout. A link as SRC stands for what it",
                    "points to; of the links in a directory that is copied out, those that lead out",
                    "of it are left out.%n"
            },
            sortOptions = false,
            footer = {"", "Examples:", "  sandboxes cp notes.txt myapp:/tmp/", "  sandboxes cp myapp:~/report ./report",
                    "  sandboxes cp myapp:/etc/os-release -"
            })
    static final class Cp extends Acting {
        @Parameters(index = "0", paramLabel = "SRC", description = "What is copied.")
        String src;

        @Parameters(index = "1", paramLabel = "DST", description = "Where to.")
        String dst;

        private static final Pattern REMOTE = Pattern.compile("(\\.|[A-Za-z0-9][A-Za-z0-9._-]*):(.*)", Pattern.DOTALL);

        @Override
        int work() {
            Matcher from = REMOTE.matcher(src);
            Matcher to = REMOTE.matcher(dst);
            if (from.matches() == to.matches()) {
                throw new Lima.Failure(2, "one of SRC and DST is NAME:PATH, the other one a path here"
                        + " (one with a colon is written ./a:b)");
            }
            boolean out = from.matches();
            String path = (out ? from : to).group(2).replaceFirst("^~(/|$)", "./");
            String here = out ? dst : src;
            Path base = Path.of(out ? path : here).normalize().getFileName();
            if (base == null || Set.of("", ".", "..").contains(base.toString())) {
                throw new Lima.Failure(2, "SRC is to be a file or directory with a name of its own: " + src);
            }
            Box is = running((out ? from : to).group(1));
            String guest = Lima.quote(path.isEmpty() ? "." : path.startsWith("/") ? path : "./" + path);
            if (here.equals("-")) {
                return pipe(is, out ? "exec cat -- " + guest : "exec cat > " + guest);
            }
            Path local = host.path(here);
            return out ? out(is, guest, base.toString(), local) : in(is, guest, base.toString(), local);
        }

        private int pipe(Box is, String remote) {
            return Lima.io(() -> lima.builder(lima.sshCommand(is.name, List.of("-T"), remote)).inheritIO().start()
                    .waitFor());
        }

        /** Unpacked beside its place and moved there, so that a link in the guest's place is not written through. */
        private int in(Box is, String guest, String base, Path local) {
            if (!Files.exists(local)) {
                throw new Lima.Failure("no such file: " + local);
            }
            Path real = Lima.io(() -> local.toRealPath());
            if (real.getNameCount() == 0) {
                throw new Lima.Failure(local + " is /");
            }
            String script = "set -eu; d=" + guest + "; n=" + Lima.quote(base) + "; b="
                    + Lima.quote(real.getFileName().toString()) + "; " + """
                    if [ -d "$d" ]; then d=${d%/}/$n; fi
                    p=$(dirname -- "$d")
                    [ -d "$p" ] || { echo "no such directory: $p" >&2; exit 1; }
                    t=$(mktemp -d -- "$p/.sandboxes-cp.XXXXXX")
                    trap 'rm -rf -- "$t"' EXIT
                    tar -xpf - -C "$t"
                    cp -a --remove-destination -T -- "$t/$b" "$d"
                    """;
            return tar(
                    List.of("tar", "-cf", "-", "-C", real.getParent().toString(), "--", real.getFileName().toString()),
                    lima.sshCommand(is.name, List.of("-T"), "exec sh -c " + Lima.quote(script)), is);
        }

        /**
         * The guest may send anything. Its archive is unpacked by tar, which takes .. and / out of names, into a new
         * directory beside the target, and what came is put in place one by one, through no link.
         */
        private int out(Box is, String guest, String base, Path local) {
            Path target = Files.isDirectory(local) ? local.resolve(base) : local;
            Path parent = target.getParent();
            if (!Files.isDirectory(parent)) {
                throw new Lima.Failure("no such directory: " + parent);
            }
            Path fresh = Lima.io(() -> Files.createTempDirectory(parent, ".sandboxes-cp"));
            try {
                String script = "p=$(readlink -f -- " + guest + ") && [ \"$p\" != / ] &&"
                        + " exec tar -cf - -C \"$(dirname -- \"$p\")\" -- \"$(basename -- \"$p\")\"";
                tar(lima.sshCommand(is.name, List.of("-T"), "exec sh -c " + Lima.quote(script)),
                        List.of("tar", "-xpof", "-", "-C", fresh.toString()), is);
                List<File> sent = children(fresh).toList(); // its name is the guest's, which does not matter
                if (sent.size() != 1) {
                    throw new Lima.Failure(
                            "not copied: " + is.name + " sent " + sent.size() + " files in place of one");
                }
                Path root = sent.get(0).toPath();
                List<Path> left = new ArrayList<>();
                place(root, root, target, left);
                left.forEach(l -> talk.say("left out: " + l + ", no file, directory or link inside of what is copied"));
                return left.isEmpty() ? 0 : 1;
            } finally {
                lima.run(Duration.ofMinutes(5), null, List.of("sh", "-c",
                        "chmod -R u+rwX \"$0\" 2>/dev/null; rm -rf -- \"$0\"", fresh.toString()));
            }
        }

        private int tar(List<String> from, List<String> to, Box is) {
            return Lima.io(() -> {
                Path said = Files.createTempFile(lima.state("edit"), "cp", ".log");
                try {
                    List<ProcessBuilder> builders = Stream.of(from, to).map(lima::builder).toList();
                    builders.forEach(b -> b.redirectError(ProcessBuilder.Redirect.appendTo(said.toFile())));
                    builders.get(1).redirectOutput(ProcessBuilder.Redirect.DISCARD);
                    boolean good = true;
                    for (Process p : ProcessBuilder.startPipeline(builders)) {
                        good &= p.waitFor() == 0;
                    }
                    if (!good) {
                        throw new Lima.Failure("not copied: " + Files.readString(said).strip().lines().findFirst()
                                .orElse("the connection to " + is.name + " was lost"));
                    }
                    return 0;
                } finally {
                    Files.deleteIfExists(said);
                }
            });
        }

        /** Puts FROM, of the tree ROOT, in the place TO; a directory that is there is filled, anything else replaced. */
        private void place(Path root, Path from, Path to, List<Path> left) {
            Lima.io(() -> {
                if (Files.isSymbolicLink(from)) {
                    Path link = Files.readSymbolicLink(from);
                    boolean upAgain = ("/" + link + "/").replaceFirst("^/(\\.{1,2}/)*", "/").contains("/../"); // by a link?
                    if (from.equals(root) || link.isAbsolute() || upAgain
                            || !from.getParent().resolve(link).normalize().startsWith(root)) {
                        left.add(to);
                        return null;
                    }
                } else if (Files.isDirectory(from)) {
                    Set<PosixFilePermission> mode = Files.getPosixFilePermissions(from);
                    Files.setPosixFilePermissions(from, PosixFilePermissions.fromString("rwx------"));
                    boolean there = Files.exists(to, LinkOption.NOFOLLOW_LINKS);
                    if (there && !Files.isDirectory(to, LinkOption.NOFOLLOW_LINKS)) {
                        throw new Lima.Failure("not copied: " + to + " is no directory of its own");
                    }
                    if (!there) {
                        Files.createDirectory(to);
                    }
                    try (Stream<Path> children = Files.list(from)) {
                        children.sorted().forEach(c -> place(root, c, to.resolve(c.getFileName()), left));
                    }
                    Files.setPosixFilePermissions(to, mode);
                    return null;
                } else if (Files.isRegularFile(from)) {
                    Files.setPosixFilePermissions(from, Files.getPosixFilePermissions(from)); // without setuid
                } else {
                    left.add(to);
                    return null;
                }
                if (Files.isDirectory(to, LinkOption.NOFOLLOW_LINKS)) {
                    throw new Lima.Failure("not copied: " + to + " is a directory");
                }
                return Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
            });
        }
    }

    /** The words for a shell's own completion. Names and tags are looked up in files, so that a Tab costs nothing. */
    static final class Completion {
        private static final String AGENTS = "claude codex gemini opencode copilot";
        /** What the scripts beside this one take, each verb (-: none) with its options; CompletionTest holds them to it. */
        static final String OTHERS = """
                sandbox - --dir --name --mount --mount-none --read-only --force-dir --publish --forward --guest-dir \
                --cpus --memory --disk --template --vm-type --ca --timeout --from --no-base --rebuild-base --add-agent \
                --env --no-keys --rm --foreign --yes --quiet --print-template --help --version
                snapshot create --tag --force --when-idle --foreign --method --help
                snapshot list --quiet --json --help
                snapshot apply --tag --force --when-idle --foreign --no-keep --help
                snapshot try --force --when-idle --foreign --keep --discard --help
                snapshot delete --tag --force --when-idle --foreign --help
                docker-context use --help
                docker-context create --all --help
                docker-context list --json --help
                docker-context env --shell --help
                docker-context remove --all --help
                ghostty-terminfo - --all --term --as --help
                jvm - --jdk --outer --maven --settings --profiles --tail --print --json --help
                doctor - --fix --json --url --help
                guest-dirs - --dir --build --help
                lima-install - --yes --check --dir --version --help
                editor zed --print --remove --rename --via --forward --help
                editor vscode --print --remove --rename --help
                editor idea --print --remove --rename --help
                editor ssh --print --remove --rename --help
                """;
        private static final String BASH = """
                _sandboxes_names() {
                    command grep -l 'kind=sandbox' "${LIMA_HOME:-$HOME/.lima}"/*/lima.yaml 2>/dev/null |
                        sed 's|/lima.yaml$||; s|.*/||'
                }
                _sandboxes_tags() {
                    command ls "${LIMA_HOME:-$HOME/.lima}/_sandbox/snapshots/$1" 2>/dev/null
                }
                _sandboxes() {
                    local script=${COMP_WORDS[0]##*/} at=1 words=
                    if [ "$script" = sandbox ] && [ "$COMP_CWORD" -gt 1 ]; then
                        case ${COMP_WORDS[1]} in
                            SCRIPTS) script=${COMP_WORDS[1]} at=2 ;;
                            VERBS) script=sandboxes ;;
                        esac
                    fi
                    case $script/$((COMP_CWORD - at))/${COMP_WORDS[at]} in
                        sandbox/0/*) words="FIRST OPTIONS-OF-SANDBOX $(_sandboxes_names)" ;;
                        sandbox/1/*) words='AGENTS' ;;
                        sandbox/*) ;;
                EACH
                    esac
                    [ "$script" != snapshot ] || [ $((COMP_CWORD - at)) -lt 2 ] ||
                        words="$words $(_sandboxes_tags "${COMP_WORDS[at + 1]}")"
                    COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
                }
                complete -o default -F _sandboxes sandbox NAMES
                """;
        private static final String FISH = """
                function __sandboxes_names
                    set -q LIMA_HOME; and set -l home $LIMA_HOME; or set -l home $HOME/.lima
                    grep -l kind=sandbox $home/*/lima.yaml 2>/dev/null | sed 's|/lima.yaml$||; s|.*/||'
                end
                function __sandboxes_tags
                    set -q LIMA_HOME; and set -l home $LIMA_HOME; or set -l home $HOME/.lima
                    set -l words (commandline -opc)
                    ls $home/_sandbox/snapshots/$words[-1] 2>/dev/null
                end
                # Are the words a call of script $1, its verb $2 (-: any), with $3 words before this one?
                function __sandboxes_in
                    set -l words (commandline -opc)
                    set words[1] (string replace -r '.*/' '' -- $words[1])
                    if test "$words[1]" = sandbox
                        if contains -- "$words[2]" NAMES
                            set -e words[1]
                        else if contains -- "$words[2]" VERBS
                            set words[1] sandboxes
                        end
                    end
                    test "$words[1]" = $argv[1]; and test (count $words) $argv[3..]
                    and begin; test $argv[2] = -; or test "$words[2]" = $argv[2]; end
                end
                complete -c sandbox -n '__sandboxes_in sandbox - -eq 1' -f -a 'FIRST (__sandboxes_names)'
                complete -c sandbox -n '__sandboxes_in sandbox - -eq 2' -a 'AGENTS'
                complete -c sandbox -c snapshot -n '__sandboxes_in snapshot - -ge 3' -f -a '(__sandboxes_tags)'
                EACH
                """;

        private Completion() {}

        /** A script's verb (-: it has none) and its options. */
        private record Row(String script, String verb, List<String> options) {}

        /** The script for a shell, with the verbs and options that picocli knows. */
        static String of(String shell, CommandLine.Model.CommandSpec spec) {
            if (!List.of("bash", "zsh", "fish").contains(shell)) {
                throw new Lima.Failure(2, "--completion takes bash, zsh or fish, not '" + shell + "'");
            }
            List<Row> rows = new ArrayList<>();
            spec.subcommands().forEach((verb, line) -> rows.add(new Row("sandboxes", verb, line.getCommandSpec()
                    .options().stream().map(CommandLine.Model.OptionSpec::longestName).toList())));
            OTHERS.lines().map(line -> List.of(line.split(" +", -1)))
                    .forEach(line -> rows.add(new Row(line.get(0), line.get(1), line.subList(2, line.size()))));
            Map<String, String> verbs = new LinkedHashMap<>();
            rows.forEach(row -> verbs.merge(row.script, row.verb, (some, more) -> some + " " + more));
            String own = verbs.get("sandboxes");
            List<String> scripts = verbs.keySet().stream().filter(s -> !s.equals("sandbox")).toList();
            boolean fish = shell.equals("fish");
            String each = verbs.entrySet().stream().filter(e -> !e.getValue().equals("-"))
                    .map(e -> fish ? fish(e.getKey(), "-", "-eq 1", e.getValue())
                            : "        " + e.getKey() + "/0/*) words='" + e.getValue() + "' ;;")
                    .collect(Collectors.joining("\n", "", "\n"))
                    + rows.stream().filter(row -> fish || !row.script.equals("sandbox"))
                            .map(row -> fish ? fish(row) : bash(row)).collect(Collectors.joining("\n"));
            Row sandbox = rows.stream().filter(row -> row.script.equals("sandbox")).findFirst().orElseThrow();
            return (shell.equals("zsh")
                    ? "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"
                    : "") + (fish ? FISH : BASH).replace("EACH", each).replace("AGENTS", AGENTS)
                            .replace("SCRIPTS", String.join(" | ", scripts)).replace("NAMES", String.join(" ", scripts))
                            .replace("OPTIONS-OF-SANDBOX", String.join(" ", sandbox.options))
                            .replace("FIRST", own + " " + String.join(" ", scripts))
                            .replace("VERBS", fish ? own : own.replace(" ", " | "));
        }

        private static String bash(Row row) {
            return "        " + row.script + (row.verb.equals("-") ? "/*" : "/*/" + row.verb) + ") words=\""
                    + String.join(" ", row.options) + (row.script.equals("lima-install") ? "" : " $(_sandboxes_names)")
                    + "\" ;;";
        }

        private static String fish(Row row) {
            String count = row.script.equals("sandbox") ? "-eq 1" : row.verb.equals("-") ? "-ge 1" : "-ge 2";
            return (List.of("sandbox", "lima-install").contains(row.script) ? ""
                    : fish(row.script, row.verb, count, "(__sandboxes_names)") + "\n")
                    + row.options.stream().map(o -> "complete -c sandbox -c " + row.script + " -n '__sandboxes_in "
                            + row.script + " " + row.verb + " " + count + "' -l " + o.substring(2))
                            .collect(Collectors.joining("\n"));
        }

        private static String fish(String script, String verb, String count, String words) {
            return "complete -c sandbox -c " + script + " -n '__sandboxes_in " + script + " " + verb + " " + count
                    + "' -f -a '" + words + "'";
        }
    }

    // ------------------------------------------------------------------------------------------------------- what is

    /** A host directory that a guest sees at the same path. */
    record Mount(Path path, boolean writable) {}

    /** An instance, as limactl tells of it; the configuration is the effective one. */
    static final class Box {
        final JsonNode node;
        final String name;
        final String status;
        final Path dir;
        final String vmType;
        final int cpus;
        final long memory;
        final long disk;
        final JsonNode config;
        /** Our words in {@code param.sandbox}; empty for an instance that this tool did not make. */
        final Map<String, String> mark = new TreeMap<>();

        Box(JsonNode node) {
            this.node = node;
            name = node.path("name").asText();
            status = node.path("status").asText();
            dir = Path.of(node.path("dir").asText());
            vmType = node.path("vmType").asText();
            cpus = node.path("cpus").asInt();
            memory = node.path("memory").asLong();
            disk = node.path("disk").asLong();
            config = node.path("config");
            for (String word : config.path("param").path("sandbox").asText().split(" ", -1)) {
                int eq = word.indexOf('=');
                if (eq > 0) {
                    mark.put(word.substring(0, eq), word.substring(eq + 1));
                }
            }
        }

        boolean is(String wanted) {
            return status.equals(wanted);
        }

        /** "sandbox", "base", or empty for somebody else's. */
        String kind() {
            return mark.getOrDefault("kind", "");
        }

        boolean isSandbox() {
            return kind().equals("sandbox");
        }

        /** Protected by its user; every base is protected by us. */
        boolean isProtected() {
            return node.path("protected").asBoolean();
        }

        List<Mount> mounts() {
            List<Mount> mounts = new ArrayList<>();
            for (JsonNode m : config.path("mounts")) {
                Path location = Path.of(m.path("location").asText());
                mounts.add(new Mount(Files.exists(location) ? Lima.io(() -> location.toRealPath()) : location,
                        m.path("writable").asBoolean()));
            }
            return mounts;
        }

        String mountsText() {
            return mounts().isEmpty() ? "no directory of this computer" : mounts().stream()
                    .map(m -> m.path + (m.writable ? " (writable)" : " (read-only)")).collect(Collectors.joining(", "));
        }

        boolean sameShape(Box other) {
            return List.copyOf(mounts()).stream().allMatch(other.mounts()::contains) && cpus == other.cpus
                    && mounts().size() == other.mounts().size() && Math.abs(memory - other.memory) < 2 << 20
                    && Math.abs(disk - other.disk) < 2 << 20;
        }

        /** The mounts as one types them: {@code PATH} or, writable, {@code PATH:w}. */
        Set<String> mountWords() {
            return mounts().stream().map(m -> m.path + (m.writable ? ":w" : ""))
                    .collect(Collectors.toCollection(LinkedHashSet::new));
        }

        /** Behind the link that stands for a path that Lima cannot write; a path that is gone stays as it is. */
        static String real(String path) {
            return Files.exists(Path.of(path)) ? Lima.io(() -> Path.of(path).toRealPath()).toString() : path;
        }

        /** Forwards of ports that its YAML opens: of the host's port, the guest's. */
        Map<Integer, Integer> kept() {
            Map<Integer, Integer> kept = new TreeMap<>();
            for (JsonNode f : config.path("portForwards")) {
                if (!f.path("ignore").asBoolean() && f.path("hostPort").asInt() > 0) {
                    kept.put(f.path("hostPort").asInt(), f.path("guestPort").asInt());
                }
            }
            return kept;
        }

        /** Where the guest's Docker is to be reached on this computer; null where it is not forwarded. */
        String dockerSocket() {
            for (JsonNode f : config.path("portForwards")) {
                if (f.path("hostSocket").asText().endsWith("docker.sock")) {
                    return f.path("hostSocket").asText().replace("{{.Dir}}", dir.toString());
                }
            }
            return null;
        }
    }

    /** An open session, from the record that {@code sandbox} keeps as long as its ssh runs. */
    record Session(String command, long pid, Instant since) {
        static List<Session> of(Lima lima, String name) {
            List<Session> open = new ArrayList<>();
            File[] records = lima.home.resolve("_sandbox/sessions").resolve(name).toFile()
                    .listFiles((d, f) -> f.matches("[0-9]{1,9}"));
            for (File record : records == null ? new File[0] : records) {
                try {
                    String[] words = Files.readString(record.toPath()).strip().split(" ", 2);
                    long pid = Long.parseLong(record.getName());
                    long born = Long.parseLong(words[0]);
                    if (words.length == 2 && ProcessHandle.of(pid).filter(p -> Life.born(p) == born).isPresent()) {
                        open.add(new Session(words[1], pid, Instant.ofEpochMilli(born)));
                    }
                } catch (IOException | NumberFormatException endedMeanwhile) {
                    // no session, then
                }
            }
            open.sort(Comparator.comparing(Session::since));
            return open;
        }

        private String text() {
            long minutes = Duration.between(since, Instant.now()).toMinutes();
            return command + ", " + (minutes < 120 ? minutes + " min" : minutes / 60 + " h");
        }

        static String text(List<Session> open) {
            return open.stream().map(Session::text).collect(Collectors.joining("; "));
        }

        /** For a column: the first one and how many more. */
        static String brief(List<Session> open) {
            return open.isEmpty() ? "-" : open.get(0).text().replaceFirst(", ([0-9]+) (.).*", " $1$2")
                    + (open.size() == 1 ? "" : " +" + (open.size() - 1));
        }
    }

    /** A snapshot, from the record that {@code snapshot} keeps. */
    record Tag(String tag, String method, String created) {
        static List<Tag> of(Lima lima, String name) {
            List<Tag> tags = new ArrayList<>();
            Path all = lima.home.resolve("_sandbox/snapshots").resolve(name);
            for (File dir : Stream.ofNullable(all.toFile().listFiles()).flatMap(Stream::of).toList()) {
                try {
                    JsonNode meta = Lima.Json.MAPPER.readTree(dir.toPath().resolve("meta.json").toFile());
                    tags.add(new Tag(meta.path("tag").asText(), meta.path("method").asText(),
                            meta.path("created").asText()));
                } catch (IOException halfMade) {
                    // no snapshot
                }
            }
            tags.sort(Comparator.comparing(Tag::created));
            return tags;
        }
    }

    // ----------------------------------------------------------------------------------------------------- the caller

    /** What the calling process gives us. Nothing below {@link #main} asks the JVM for any of it. */
    static final class Host {
        final Map<String, String> env;
        final Path cwd;
        final PrintWriter out;
        final PrintWriter err;
        final InputStream in;
        final String command;
        final boolean stdinTty;
        final boolean stdoutTty;
        final boolean stderrTty;

        Host(Map<String, String> env, Path cwd, PrintWriter out, PrintWriter err, InputStream in, String command,
                int ttys) {
            this.env = env;
            this.cwd = cwd;
            this.out = out;
            this.err = err;
            this.in = in;
            this.command = command;
            this.stdinTty = (ttys & 1) != 0;
            this.stdoutTty = (ttys & 2) != 0;
            this.stderrTty = (ttys & 4) != 0;
        }

        static Host ofThisProcess() {
            String told = System.getProperty("sandbox.command");
            return new Host(System.getenv(), Path.of("").toAbsolutePath(), new PrintWriter(System.out, true, UTF_8),
                    new PrintWriter(System.err, true, UTF_8), new FileInputStream(FileDescriptor.in),
                    told != null ? told : System.getenv("JBANG_LAUNCH_CMD") != null ? "jbang sandboxes.java"
                            : "sandboxes",
                    terminals());
        }

        /** Bits 1, 2, 4 for a terminal on 0, 1, 2: asked of a child, as Java does not tell. */
        private static int terminals() {
            try {
                return new ProcessBuilder("sh", "-c", "n=0; test -t 0 && n=1; test -t 1 && n=$((n+2));"
                        + " test -t 2 && n=$((n+4)); exit $n").inheritIO().start().waitFor();
            } catch (IOException e) {
                return 0;
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return 0;
            }
        }

        boolean colours() {
            return stdoutTty && env.getOrDefault("NO_COLOR", "").isEmpty() && !"dumb".equals(env.get("TERM"));
        }

        static boolean mac() {
            return System.getProperty("os.name").startsWith("Mac");
        }

        static boolean isPath(String word) {
            return word.equals(".") || word.equals("..") || word.startsWith("/") || word.startsWith("./")
                    || word.startsWith("../") || word.startsWith("~");
        }

        Path path(String word) {
            String home = env.getOrDefault("HOME", "/");
            return cwd.resolve(word.equals("~") || word.startsWith("~/") ? home + word.substring(1) : word).normalize();
        }

        /** Writes a value to stdout as JSON. */
        void json(Object value) {
            out.println(Lima.io(() -> Lima.Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(value)));
        }

        String tilde(Path path) {
            Path home = Path.of(env.getOrDefault("HOME", "/"));
            return path.startsWith(home) && home.getNameCount() > 0 ? "~/" + home.relativize(path) : path.toString();
        }

        /** How {@code sandbox} is spelled where we are spelled so; in a checkout one launcher stands for both. */
        String entry() {
            return command.replace("sandboxes", "sandbox");
        }

        /** How another script of this project is spelled from here. */
        String sibling(String script) {
            return command.contains("sandboxes") ? command.replace("sandboxes", script) : command + " " + script;
        }

        /** How sandbox or editor is started from here: beside us on the class path, as a file, or by its JBang name. */
        List<String> script(Lima lima, String script) {
            boolean sandbox = script.equals("sandbox");
            String spelled = sandbox ? entry() : sibling(script);
            String type = sandbox ? "Sandbox" : "Editor";
            if (Sandboxes.class.getResource(type + ".class") != null) {
                String path = Stream.of(Sandboxes.class, CommandLine.class, JsonNode.class, ObjectMapper.class,
                        com.fasterxml.jackson.core.JsonParser.class,
                        com.fasterxml.jackson.annotation.JsonProperty.class,
                        com.fasterxml.jackson.dataformat.yaml.YAMLFactory.class, org.yaml.snakeyaml.Yaml.class)
                        .map(c -> Lima.io(() -> Path.of(
                                c.getProtectionDomain().getCodeSource().getLocation().toURI()).toString()))
                        .distinct().collect(Collectors.joining(File.pathSeparator));
                return List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-cp", path,
                        "-Dsandbox.command=" + spelled, "dev.limasandbox." + type);
            }
            String jbang = lima.which("jbang");
            boolean alone = command.equals("jbang sandboxes.java");
            Path file = cwd.resolve(script + ".java");
            String alias = !alone ? spelled.replaceFirst("^jbang ", "")
                    : Files.exists(file) ? file.toString() : catalog() ? script + "@org" : "";
            if (command.startsWith("jbang ") && !jbang.equals("jbang") && !alias.isEmpty()) {
                return List.of(jbang, alias);
            }
            if (!lima.which("sandbox").equals("sandbox")) {
                return sandbox ? List.of(lima.which("sandbox")) : List.of(lima.which("sandbox"), script);
            }
            throw new Lima.Failure("this needs " + script + ".java of this project"
                    + (sandbox ? ", which makes and starts sandboxes" : "") + ". To get it: put it here beside"
                    + " sandboxes.java, or\n  jbang app install " + script + "@org");
        }

        /** Does JBang know this project's catalog? */
        private boolean catalog() {
            Path jbang = Path.of(env.getOrDefault("JBANG_DIR", env.getOrDefault("HOME", "/") + "/.jbang"));
            return Optional.of(jbang.resolve("jbang-catalog.json")).filter(Files::exists)
                    .map(f -> Lima.io(() -> Lima.Json.MAPPER.readTree(f.toFile())))
                    .filter(c -> c.at("/catalogs/org").isObject())
                    .isPresent();
        }

        /** Writes a file at once or not at all. */
        static void write(Path file, String text) {
            Lima.io(() -> {
                Files.createDirectories(file.getParent());
                Path part = Files.createTempFile(file.getParent(), ".part", "");
                return Files.move(Files.writeString(part, text), file, StandardCopyOption.ATOMIC_MOVE);
            });
        }
    }

    /** Everything that we say, on stderr only: stdout is for data. Several sandboxes at once say whole lines each. */
    static final class Talk {
        private final Host host;
        final boolean quiet;
        final boolean yes;

        Talk(Host host, boolean quiet, boolean yes) {
            this.host = host;
            this.quiet = quiet;
            this.yes = yes;
        }

        synchronized void say(String line) {
            if (!quiet && !line.isEmpty()) {
                error(line);
            }
        }

        synchronized void error(String line) {
            host.err.println("sandboxes: " + line);
            host.err.flush();
        }

        /** A question; without a terminal it is an error that names it. Returns only if the answer was yes. */
        void confirm(String question) {
            if (yes) {
                return;
            }
            if (!host.stdinTty || !host.stderrTty) {
                throw new Lima.Failure(question + "\nThere is no terminal to ask on: --yes answers with yes.");
            }
            host.err.print("sandboxes: " + question + " [y/N] ");
            host.err.flush();
            StringBuilder answer = new StringBuilder();
            Lima.io(() -> {
                for (int c = host.in.read(); c >= 0 && c != '\n'; c = host.in.read()) {
                    answer.append((char) c);
                }
                return null;
            });
            if (!answer.toString().strip().toLowerCase(Locale.ROOT).matches("y|yes")) {
                throw new Lima.Failure(1, "not done");
            }
        }
    }

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

    // --- Life: the same text in every script that boots or stops something ---
    /** An instance's life: made, started, ready, stopped, deleted. All of it under a lock of ours, as Lima has none. */
    static final class Life {
        private final Lima lima;
        private final Consumer<String> progress;

        Life(Lima lima, Consumer<String> progress) {
            this.lima = lima;
            this.progress = progress;
        }

        /** A lock on a name. Its file tells what is under way and by which process, for whoever comes after a kill -9. */
        static final class Lock implements AutoCloseable {
            private final FileChannel channel;
            private String note = "";
            Optional<ProcessHandle> by = Optional.empty();
            /** Was it left by a call that would have deleted the instance at its end? */
            boolean abandoned;

            private Lock(FileChannel channel) {
                this.channel = channel;
            }

            /** Notes that WHAT (create, clone, base, start, delete) of NAME begins, by a process; "": nothing is unfinished. */
            void making(String whatAndName, ProcessHandle process) {
                note = whatAndName;
                by = Optional.ofNullable(process);
                String line = note + by.map(p -> " " + p.pid() + " " + born(p)).orElse("");
                Lima.io(() -> channel.truncate(0).write(UTF_8.encode(line), 0));
            }

            @Override
            public void close() {
                Lima.io(() -> {
                    channel.close();
                    return null;
                });
            }
        }

        private static long born(ProcessHandle process) {
            return process.info().startInstant().map(Instant::toEpochMilli).orElse(0L);
        }

        /**
         * The process of a number that was noted at a time, if it is still the one: no younger, and of such a command
         * line, of which the JVM itself would tell 4 KiB only.
         */
        private Optional<ProcessHandle> process(String pid, long noted, String line) {
            return ProcessHandle.of(Long.parseLong(pid)).filter(p -> born(p) < noted + 10_000)
                    .filter(p -> lima.run(Duration.ofMinutes(1), null, List.of("sh", "-c",
                            "cat /proc/$0/cmdline 2>/dev/null || ps -ww -o args= -p $0", pid)).out()
                            .replace('\0', ' ').strip().matches("(?s)" + line));
        }

        /** Takes the lock of a name, waiting for whoever has it, and clears up after an interrupted call. */
        Lock lock(String name) {
            return Lima.io(() -> {
                Path file = lima.state("locks").resolve(name + ".lock");
                FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ,
                        StandardOpenOption.WRITE, StandardOpenOption.DSYNC);
                while (!locked(channel)) {
                    progress.accept("waiting for another call that works on " + name);
                    Thread.sleep(200);
                }
                Lock lock = new Lock(channel);
                ByteBuffer noted = ByteBuffer.allocate(500); // read by this channel: closing another one frees the lock
                channel.read(noted, 0);
                Matcher left = Pattern.compile("([a-z]+) ([^ ]+)(?: ([0-9]{1,18}) ([0-9]{1,18}))?")
                        .matcher(new String(noted.array(), 0, noted.position(), UTF_8));
                if (left.matches()) {
                    settle(lock, left.group(1), left.group(2), left.group(3) == null ? Optional.empty()
                            : process(left.group(3), Long.parseLong(left.group(4)),
                                    left.group(1).equals("rm") ? ".*" : ".*" + Pattern.quote(left.group(2)) + ".*"));
                }
                return lock;
            });
        }

        /** After a kill -9: waits for the limactl that ran on; what it was to make goes, what it started stays. */
        private void settle(Lock lock, String what, String name, Optional<ProcessHandle> by) {
            if (what.equals("rm")) {
                lock.abandoned = by.isEmpty();
                return;
            }
            by.filter(p -> what.equals("base")).ifPresent(ProcessHandle::destroyForcibly); // its start may take long yet
            while (by.filter(ProcessHandle::isAlive).isPresent() && !(what.equals("start") && lima.limactl(
                    "list", "--format", "{{.Name}} {{.Status}}").lines().anyMatch((name + " Running")::equals))) {
                progress.accept("waiting for an interrupted limactl " + what + ", process " + by.get().pid());
                LockSupport.parkNanos(500_000_000L);
            }
            Path dir = lima.home.resolve(name);
            Path yaml = dir.resolve("lima.yaml");
            boolean ours = Lima.io(() -> !Files.exists(yaml) || Files.readString(yaml).contains("v=1 kind="));
            if (!what.equals("start") && ours && !Files.exists(dir.resolve("protected"))) { // a finished base is protected
                progress.accept("removing the half-made " + name);
                delete(name);
            }
            lock.making("", null);
        }

        private static boolean locked(FileChannel channel) throws IOException {
            try {
                return channel.tryLock() != null;
            } catch (OverlappingFileLockException heldByAnotherThreadHere) {
                return false;
            }
        }

        /**
         * Takes away pid files that name no process of this instance, and the sockets that nothing of it serves any more.
         * After a reboot of the host they can name anybody's process, and limactl would kill it (seen on 2.2.0).
         */
        void sweep(String name) {
            String own = "(.* hostagent (.* )?NAME|.* -name lima-NAME( .*)?|.* --inst-dir [^ ]*/NAME( .*)?"
                    .concat("|[^ ]*krunkit .*/NAME/.*)").replace("NAME", Pattern.quote(name));
            Path dir = lima.home.resolve(name);
            // After clone and rename it has mode 0000: no Docker, and no clone of the clone.
            lima.run(Duration.ofMinutes(1), null, List.of("chmod", "-f", "700", dir.resolve("sock").toString()));
            boolean alive = false;
            for (Path file : files(dir, ".pid")) {
                String pid = Lima.io(() -> Files.exists(file) ? Files.readString(file).strip() : "");
                boolean fits = pid.matches("[0-9]{1,9}") && process(pid, file.toFile().lastModified(), own).isPresent();
                alive |= fits;
                Lima.io(() -> !fits && Files.deleteIfExists(file));
            }
            if (!alive) {
                Stream.of(dir, dir.resolve("sock")).flatMap(d -> files(d, ".sock").stream())
                        .forEach(socket -> Lima.io(() -> Files.deleteIfExists(socket)));
            }
        }

        private static List<Path> files(Path dir, String suffix) {
            return Stream.ofNullable(dir.toFile().listFiles((d, file) -> file.endsWith(suffix))).flatMap(Stream::of)
                    .map(File::toPath).toList();
        }

        /** Starts a stopped instance; shows the guest's own phases and ends at once when its set-up has failed. */
        void start(String name, Duration limit, Lock lock) {
            disconnect(name); // a socket of an earlier boot
            sweep(name);
            progress.accept("booting " + name);
            lock.note = lock.note.isEmpty() ? "start " + name : lock.note; // a base is noted as that
            if (!booted(name, limit, lock)) {
                progress.accept(name + " shows no sign of life: its power is cut and it is booted once more");
                lima.limactl("stop", "-f", name);
                if (!booted(name, limit, lock)) {
                    throw new Lima.Failure(name + " shows no sign of life, twice. What its console said last is in "
                            + lima.home.resolve(name).resolve("serial.log") + hostagent(name));
                }
            }
        }

        private static final String PANIC = "Kernel panic - not syncing";

        /**
         * Did the guest do anything, its set-up fail included? A quarter of LIMIT without a sign of life is enough, or its
         * kernel's last words (seen now and then in the second second of a boot, with several emulated processors).
         */
        private boolean booted(String name, Duration limit, Lock lock) {
            String before = console(name);
            String[] seen = {"", before};
            long[] heard = {System.nanoTime()};
            BooleanSupplier dead = () -> !seen[1].equals(before) && seen[1].contains(PANIC)
                    || System.nanoTime() - heard[0] > Math.max(limit.toNanos() / 4, 10_000_000_000L);
            Lima.Result r = limactl(List.of("start", "--tty=false", "--timeout", limit.toSeconds() + "s", name),
                    lock, () -> {
                        seen[0] = glance(name);
                        String console = console(name);
                        if (!seen[0].isEmpty() || !console.equals(seen[1])) {
                            heard[0] = System.nanoTime();
                            seen[1] = console;
                        }
                        progress.accept(seen[0].startsWith("failed ") ? "" : seen[0]);
                        return !seen[0].startsWith("failed ") && !dead.getAsBoolean(); // Lima would wait until the time-out
                    });
            boolean happened = r.code() == 0 || seen[0].startsWith("failed ");
            if (!happened && !dead.getAsBoolean()) {
                throw new Lima.Failure(
                        "limactl start of " + name + " failed: " + Lima.reason(r.err()) + hostagent(name));
            }
            return happened;
        }

        /** What the guest's consoles said since QEMU or VZ began this boot, and of the boot before until then. */
        private String console(String name) {
            return files(lima.home.resolve(name), ".log").stream()
                    .filter(f -> f.getFileName().toString().startsWith("serial"))
                    .map(f -> Lima.io(() -> Files.exists(f) ? Files.readString(f, ISO_8859_1) : ""))
                    .collect(Collectors.joining());
        }

        /**
         * Runs limactl for as long as GO_ON, asked every three seconds, says so. The lock's file knows the process before
         * it begins: a shell becomes limactl on our word only, which it never gets if we die before.
         */
        Lima.Result limactl(List<String> args, Lock lock, BooleanSupplier goOn) {
            return Lima.io(() -> {
                Path log = Files.createTempFile(lima.state("locks"), "limactl", ".log");
                try {
                    Process child = lima.builder(Stream.concat(Stream.of(
                            "sh", "-c", "read go && exec limactl \"$@\" </dev/null", "sh"), args.stream()).toList())
                            .redirectOutput(ProcessBuilder.Redirect.DISCARD).redirectError(log.toFile()).start();
                    lock.making(lock.note, child.toHandle());
                    new PrintWriter(child.getOutputStream(), true, UTF_8).println("go"); // no matter if it was killed
                    while (!child.waitFor(3, TimeUnit.SECONDS)) {
                        if (!goOn.getAsBoolean()) {
                            child.destroy();
                        }
                    }
                    int code = child.exitValue();
                    // Ctrl-C reaches limactl too, and may end it before it is known here that this process ends.
                    LockSupport.parkNanos(code == 0 ? 0 : 1_000_000_000L);
                    return new Lima.Result(code, "", Files.readString(log)
                            + (code > 128 ? "\nit was ended by signal " + (code - 128) : ""));
                } finally {
                    Files.deleteIfExists(log);
                }
            });
        }

        /**
         * A shell script that names a provision script that failed in this boot, if one did. Our template tells by
         * itself; of any other only the log of its boot does, as Lima exits with 0 (seen on 2.2.0).
         */
        static final String FAILED = """
                if [ -e /run/sandbox/failed ]; then sed 's/^/failed /' /run/sandbox/failed
                elif [ -e /run/lima-boot-done ]; then
                  sudo -n cat /var/log/cloud-init-output.log 2>/dev/null |
                    awk '/running .init-local/ { f = "" } sub(/.*WARNING: Failed to execute /, "") { f = $0 }
                      END { if (f) print "failed", f }'
                fi
                """;

        /** What the guest says of its set-up while it boots: "failed …", a phase, or nothing yet. */
        private String glance(String name) {
            String remote = FAILED + "cat /run/sandbox/phase 2>/dev/null || if [ -e /run/lima-boot-done ];"
                    + " then echo 'waiting for the probes of its template'; else echo 'running its boot scripts'; fi";
            return Files.exists(limasSocket(name)) ? direct(name, remote).out().lines().findFirst().orElse("") : "";
        }

        /** Lima's connection, the first one of a boot: another costs an emulated guest seconds of its processor. */
        private Path limasSocket(String name) {
            return lima.home.resolve(name).resolve("ssh.sock");
        }

        /** An ssh call beside our connection, which is not there yet; a guest too busy to answer has not answered. */
        private Lima.Result direct(String name, String remote) {
            try {
                return lima.run(Duration.ofSeconds(30), null, lima.sshCommand(name,
                        List.of("-S", limasSocket(name).toString(), "-o", "ConnectTimeout=10"), remote));
            } catch (Lima.Failure tooSlow) {
                return new Lima.Result(255, "", tooSlow.getMessage());
            }
        }

        private String hostagent(String name) {
            Path log = lima.home.resolve(name).resolve("ha.stderr.log");
            return !Files.exists(log) ? ""
                    : Lima.io(() -> Files.readAllLines(log)).stream()
                            .filter(l -> l.matches(".*\"level\":\"(fatal|error)\".*")).reduce("", (a, b) -> "\n  " + b);
        }

        /** Is our connection of this boot open? Then readiness and mounts were proven in this boot. */
        boolean connected(String name) {
            return Files.exists(lima.socket(name))
                    && lima.run(Duration.ofMinutes(1), null, lima.sshCommand(name, List.of("-O", "check")))
                            .code() == 0;
        }

        /**
         * Opens our own connection, once the guest's boot scripts are done: a running VM may still be booting when an
         * earlier start was interrupted. Lima's own connection takes no variables along (seen on 2.2.0).
         */
        void connect(String name, Duration limit) {
            Instant end = Instant.now().plus(limit);
            while (direct(name, "test -e /run/lima-boot-done -o -e /run/sandbox/failed").code() != 0) {
                if (Instant.now().isAfter(end)) {
                    String how = direct(name, "true").code() == 0 ? " did not finish booting" : " does not answer";
                    throw new Lima.Failure(name + how + " within " + limit.toSeconds() + " s" + hostagent(name)
                            + "\nTo stop it by force: limactl stop -f " + name + "; the same command again starts it");
                }
                if (!Files.exists(lima.home.resolve(name).resolve("ha.pid"))) {
                    throw new Lima.Failure(
                            name + " was stopped by somebody meanwhile; the same command again starts it");
                }
                if (console(name).contains(PANIC)) { // of this boot: a console's file begins anew with it
                    lima.limactl("stop", "-f", name);
                    throw new Lima.Failure("the kernel of " + name + " crashed; the same command again starts it");
                }
                String seen = glance(name);
                progress.accept(seen.isEmpty() ? "waiting for " + name + " to finish booting" : seen);
                LockSupport.parkNanos(2_000_000_000L);
            }
            if (!connected(name)) {
                disconnect(name);
                List<String> master = new ArrayList<>(List.of("sh", "-c", "exec \"$@\" >/dev/null 2>&1", "sh")); // it stays
                master.addAll(lima.sshCommand(name, List.of("-MNf", "-o", "SendEnv=*", "-o", "ServerAliveInterval=20",
                        "-o", "ServerAliveCountMax=6")));
                lima.run(Duration.ofMinutes(2), null, master);
            }
            if (!connected(name)) {
                throw new Lima.Failure("no connection to " + name + ": " + Lima.reason(direct(name, "true").err()));
            }
        }

        void disconnect(String name) {
            if (Files.exists(lima.socket(name))) {
                lima.run(Duration.ofMinutes(1), null, lima.sshCommand(name, List.of("-O", "exit")));
                Lima.io(() -> Files.deleteIfExists(lima.socket(name)));
            }
        }

        /** Stops an instance, a broken one too; twice is no error. Its guest is asked first, then the power is cut. */
        void stop(String name) {
            disconnect(name);
            sweep(name);
            if (lima.run(Duration.ofMinutes(7), null, List.of("limactl", "stop", name)).code() != 0) {
                direct(name, "sync");
                lima.limactl("stop", "-f", name);
            }
        }

        /** Deletes an instance; a half-made one without a lima.yaml too, which limactl refuses to (seen on 2.2.0). */
        void delete(String name) {
            disconnect(name);
            sweep(name);
            Lima.Result r = lima.run(Duration.ofMinutes(2), null, List.of("limactl", "delete", "-f", name));
            Path dir = lima.home.resolve(name);
            if (Files.exists(dir.resolve("lima.yaml"))) {
                throw new Lima.Failure("limactl did not delete " + name + ": " + Lima.reason(r.err()));
            }
            lima.run(Duration.ofMinutes(2), null, List.of("rm", "-rf", "--", dir.toString()));
        }
    }
    // --- end of Life ---
}
