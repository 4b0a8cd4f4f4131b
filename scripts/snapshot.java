///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Snapshots of a sandbox that really roll back.
//JAVA 17+
//DEPS info.picocli:picocli:4.7.7
//DEPS com.fasterxml.jackson.dataformat:jackson-dataformat-yaml:2.23.0
package dev.limasandbox;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
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
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * {@code snapshot create|list|apply|delete|try NAME}: states of a sandbox's disk to go back to. Each verb is a method;
 * below them stand the story of one change ({@link #atRest}), the snapshots of one sandbox ({@link Snapshots}) and the
 * repository of a trial ({@link Repository}).
 *
 * <p>Two methods. <i>internal</i>: in the qcow2 file of a QEMU machine, by {@code limactl snapshot}, which works only
 * while the machine is off: on a running one with a mount it exits 0 and does nothing (seen on 2.2.0). <i>copy</i>: the
 * files of the disk beside it, copy-on-write where the file system can, for VZ, of which {@code limactl snapshot} knows
 * nothing, and for other disks.
 */
@Command(
        name = "snapshot",
        synopsisSubcommandLabel = "VERB",
        description = {
                "Snapshots of a sandbox: states of its disk to go back to.",
                "",
                "NAME is the sandbox, '.' that of this directory. A running sandbox is stopped",
                "for it and started again. Mounted directories are not in a snapshot.%n"
        },
        commandListHeading = "Verbs:%n",
        footer = {
                "",
                "Examples:",
                "  snapshot create myapp before-refactor",
                "  snapshot list myapp",
                "  snapshot apply myapp before-refactor",
                "  snapshot apply myapp before-apply      undoes that",
                "  snapshot try myapp -- claude -p 'update all dependencies'",
                "",
                "'snapshot VERB --help' tells more of each.",
                "Exit codes: 0, 125 for failures, 2 for usage; of try the command's own."
        })
class Snapshot {
    /** The tag under which apply keeps what it replaces. */
    private static final String KEPT = "before-apply";

    @Option(names = {"-h", "--help"}, usageHelp = true, scope = CommandLine.ScopeType.INHERIT,
            description = "Show this help.")
    boolean help;

    /** The sandbox and the snapshot that are meant. */
    static final class Aim {
        @Parameters(index = "0", paramLabel = "NAME", description = "The sandbox; '.' for this directory's.")
        String name;

        @Parameters(index = "1", arity = "0..1", paramLabel = "TAG", description = "The snapshot's name.")
        String word;

        @Option(names = "--tag", paramLabel = "TAG", description = "The same.")
        String option;

        Optional<String> tag() {
            if (word != null && option != null && !word.equals(option)) {
                throw new Lima.Failure(2, "two tags: " + word + " and --tag " + option);
            }
            return Optional.ofNullable(word != null ? word : option);
        }
    }

    /** What holds for all that may stop a sandbox. */
    static final class Manner {
        @Option(names = "--force", description = "Even if it ends open sessions.")
        boolean force;

        @Option(names = "--when-idle", description = "Wait until no session is open.")
        boolean whenIdle;

        @Option(names = "--foreign", description = "Even if this tool did not make the instance.")
        boolean foreign;
    }

    private final Host host;
    private final Lima lima;
    private final Life life;
    /** Of {@code try}: what stands behind {@code --}. */
    final List<String> command;

    private Snapshot(Host host, List<String> command) {
        this.host = host;
        this.command = command;
        lima = new Lima(host.env);
        life = new Life(lima, new Consumer<>() {
            private String last = "";

            @Override
            public void accept(String phase) {
                if (!phase.isBlank() && !phase.equals(last)) {
                    host.say(phase.replaceAll("\\p{Cntrl}", " ") + " ...");
                    last = phase;
                }
            }
        });
    }

    /** Runs one command line and ends the process with its exit code. */
    public static void main(String[] args) {
        System.exit(run(Host.ofThisProcess(), args));
    }

    /**
     * Runs one command line.
     *
     * @return the exit code; never throws for a failure of ours, which is told on {@code host.err}
     */
    static int run(Host host, String... args) {
        List<String> words = List.of(args);
        int end = words.contains("--") ? words.indexOf("--") : words.size();
        CommandLine line = new CommandLine(
                new Snapshot(host, words.subList(Math.min(end + 1, args.length), args.length)))
                .setExpandAtFiles(false)
                .setOut(host.out)
                .setErr(host.err)
                .setColorScheme(CommandLine.Help.defaultColorScheme(CommandLine.Help.Ansi.OFF))
                .setParameterExceptionHandler((e, a) -> {
                    CommandLine verb = e.getCommandLine();
                    host.say(e.getMessage());
                    host.err.print("Usage: " + verb.getHelp().synopsis(0));
                    host.say("'" + host.command + (verb.getParent() == null ? "" : " " + verb.getCommandName())
                            + " --help' tells more.");
                    return 2;
                })
                .setExecutionExceptionHandler((e, l, p) -> {
                    if (!(e instanceof Lima.Failure failure)) {
                        throw e;
                    }
                    host.say(failure.getMessage());
                    return failure.code;
                });
        return line.execute(words.subList(0, end).toArray(String[]::new));
    }

    // ----------------------------------------------------------------------------------------------------------- verbs

    @Command(
            name = "create",
            description = "Keeps the present state of a sandbox's disk under a tag.",
            footer = {
                    "", "Without TAG the time is taken. Examples:",
                    "  snapshot create myapp before-refactor",
                    "  snapshot create . --method copy clean-slate"
            })
    int create(
            @Mixin Aim aim, @Mixin Manner manner,
            @Option(names = "--method", paramLabel = "M",
                    description = "internal (in the disk, QEMU only) or copy (default: what the disk can).") String method) {
        if (method != null && !method.matches("internal|copy")) {
            throw new Lima.Failure(2, "--method is internal or copy, not '" + method + "'");
        }
        String tag = aim.tag().orElseGet(() -> DateTimeFormatter.ofPattern("'at-'yyyy-MM-dd-HHmmss")
                .format(Instant.now().atZone(ZoneId.systemDefault())));
        if (!tag.matches("[A-Za-z][A-Za-z0-9._-]{0,99}")) {
            throw new Lima.Failure(2, "a tag has letters, digits, '.', '_' and '-', a letter first, not '" + tag + "'");
        }
        if (tag.equals(KEPT)) {
            throw new Lima.Failure(2, "the tag " + KEPT + " is apply's own");
        }
        return atRest(aim.name, manner, of -> {
            of.mustNotHave(tag);
            boolean internal = method == null ? of.qcow2() : method.equals("internal");
            if (internal && !of.qcow2()) {
                throw new Lima.Failure("the disk of " + of.is.name + " holds no snapshots itself; --method copy");
            }
            return new Plan(true, () -> {
                of.create(tag, internal);
                host.say("created the snapshot " + tag + " of " + of.is.name + " (" + (internal ? "internal" : "copy")
                        + ")" + of.not());
            });
        });
    }

    @Command(
            name = "list",
            description = "Lists the snapshots of a sandbox, the oldest first.",
            footer = {"", "Examples:", "  snapshot list myapp", "  snapshot list . --json"})
    int list(
            @Parameters(index = "0", paramLabel = "NAME",
                    description = "The sandbox; '.' for this directory's.") String name,
            @Option(names = {"-q", "--quiet"}, description = "Only the tags.") boolean tags,
            @Option(names = "--json", description = "As JSON: tag, method, created.") boolean json) {
        Sandboxed is = instance(name, true);
        List<Kept> all = new Snapshots(is, null).all();
        if (json) {
            host.out.println(all.stream().map(Kept::json).collect(Collectors.joining(",\n ", "[", "]")));
        } else if (tags) {
            all.forEach(k -> host.out.println(k.tag));
        } else {
            int width = all.stream().mapToInt(k -> k.tag.length()).max().orElse(0);
            all.forEach(k -> host.out.println(String.format(Locale.ROOT, "%-" + width + "s  %s  %s", k.tag,
                    DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss").format(k.created.atZone(ZoneId.systemDefault())),
                    k.method)));
        }
        if (all.isEmpty() && !json) {
            host.say("no snapshots of " + name + "; to make one: " + host.command + " create " + name + " TAG");
        }
        if (is.status.equals("Stopped") && Files.exists(owed(is.name))) {
            host.say("an interrupted call left " + is.name + " stopped; to start it: " + host.sibling("sandboxes")
                    + " start " + is.name);
        }
        return 0;
    }

    @Command(
            name = "apply",
            description = {
                    "Puts a sandbox's disk back to a snapshot.",
                    "",
                    "The state that it replaces is kept as " + KEPT + ". Mounts, ports and resources",
                    "stay as they are."
            },
            footer = {
                    "", "Examples:",
                    "  snapshot apply myapp before-refactor",
                    "  snapshot apply myapp " + KEPT + "      undoes the last apply"
            })
    int apply(
            @Mixin Aim aim, @Mixin Manner manner,
            @Option(names = "--no-keep", description = "Do not keep the present state.") boolean noKeep) {
        return atRest(aim.name, manner, of -> {
            Kept kept = of.named(aim);
            List<String> lost = of.lostBy(kept);
            if (noKeep && !lost.isEmpty() && !manner.force) {
                throw new Lima.Failure("these snapshots are in the disk that it replaces and would be lost: "
                        + String.join(", ", lost) + "; without --no-keep they stay in " + KEPT + ", --force insists");
            }
            return new Plan(true, () -> {
                of.apply(kept, !noKeep);
                host.say(of.is.name + " is back at " + kept.tag + of.not());
                if (!noKeep) {
                    host.say("what it was before is kept as " + KEPT
                            + (lost.isEmpty() ? "" : ", and in it the snapshots " + String.join(", ", lost)));
                }
            });
        });
    }

    @Command(
            name = "delete",
            description = "Deletes a snapshot. The sandbox's present state stays as it is.",
            footer = {"", "Example:", "  snapshot delete myapp before-refactor"})
    int delete(@Mixin Aim aim, @Mixin Manner manner) {
        return atRest(aim.name, manner, of -> {
            String tag = of.named(aim).tag;
            return new Plan(of.count(tag) > 0, () -> { // a copy lies beside the disk, and goes while the machine runs
                of.delete(tag);
                host.say("deleted the snapshot " + tag + " of " + of.is.name);
            });
        });
    }

    @Command(
            name = "try",
            customSynopsis = "snapshot try NAME [DIR] [--keep|--discard] -- COMMAND...%n",
            description = {
                    "Runs COMMAND on trial; its work is kept or discarded.",
                    "",
                    "It runs in the sandbox on a branch of its own, agent/TAG, after a snapshot TAG.",
                    "Its work is kept as a commit, or discarded: sandbox and branch are as before,",
                    "and what it did to the repository is saved under refs/sandbox/discarded/TAG.",
                    "Without COMMAND an open trial is ended."
            },
            footer = {
                    "", "Ignored files (.gitignore) are neither committed nor put back. Examples:",
                    "  snapshot try myapp -- claude -p 'update all dependencies'",
                    "  snapshot try myapp --discard      ends a trial that was left open"
            })
    int attempt(
            @Parameters(index = "0", paramLabel = "NAME",
                    description = "The sandbox; '.' for this directory's.") String typed,
            @Parameters(index = "1", arity = "0..1", paramLabel = "DIR",
                    description = "In the repository (default: this directory).") Path at,
            @Mixin Manner manner,
            @Option(names = "--keep", description = "Keep the work, without a question.") boolean keep,
            @Option(names = "--discard", description = "Discard it, without a question.") boolean discard) {
        if (keep && discard || !keep && !discard && !host.terminal) {
            throw new Lima.Failure(2, "one of --keep and --discard, as there is no terminal to ask on");
        }
        Path dir = at == null ? host.cwd : host.cwd.resolve(at).normalize();
        if (!Files.isDirectory(dir)) {
            throw new Lima.Failure(2, "no such directory: " + dir + "; the command stands behind --");
        }
        String name = instance(typed, manner.foreign).name;
        Path note = lima.state("trials").resolve(name + ".json");
        int code = 0;
        if (command.isEmpty() != Files.exists(note)) {
            throw new Lima.Failure(2,
                    command.isEmpty() ? "no trial is open in " + name + "; what is to be run? -- COMMAND"
                            : "a trial is open in " + name + "; to end it: " + host.command + " try " + name
                                    + " --keep (or --discard)");
        }
        Repository repository;
        if (command.isEmpty()) {
            repository = new Repository(note);
        } else {
            String tag = DateTimeFormatter.ofPattern("'try-'yyyyMMdd-HHmmss")
                    .format(Instant.now().atZone(ZoneId.systemDefault()));
            repository = new Repository(dir, tag);
            repository.mustBeClean();
            host.sandbox(lima); // before anything is stopped: is there a sandbox command at all?
            atRest(name, manner, of -> new Plan(true, () -> {
                Lima.io(() -> Files.writeString(note, repository.note.toString())); // a kill leaves a trial to be ended
                try {
                    of.create(tag, of.qcow2());
                } catch (Lima.Failure failure) {
                    Lima.io(() -> Files.deleteIfExists(note));
                    throw failure;
                }
            }));
            repository.begin();
            host.say("trial " + tag + ": on the branch agent/" + tag + " of " + repository.top);
            code = sandbox(name, dir);
            host.say("the command ended with exit code " + code);
        }
        if (keep || !discard && wantsToKeep(name)) {
            atRest(name, manner, of -> new Plan(true, () -> { // nobody in it changes the repository meanwhile
                repository.keep();
                of.delete(repository.tag);
            }));
            host.say("kept on the branch agent/" + repository.tag + "; to take it over: git switch "
                    + repository.branch() + " && git merge agent/" + repository.tag);
        } else {
            atRest(name, manner, of -> new Plan(true, () -> {
                repository.discard();
                if (of.all().stream().anyMatch(k -> k.tag.equals(repository.tag))) { // else the end was interrupted
                    of.apply(of.all().stream().filter(k -> k.tag.equals(repository.tag)).findFirst().orElseThrow(),
                            true);
                    of.delete(repository.tag);
                }
            }));
            host.say("discarded; what was done is saved as refs/sandbox/discarded/" + repository.tag
                    + ", the sandbox as it was as " + KEPT + "; to look: git log -p refs/sandbox/discarded/"
                    + repository.tag);
        }
        Lima.io(() -> Files.deleteIfExists(note));
        return code;
    }

    /** Asks until there is an answer; without one the trial stays open. */
    private boolean wantsToKeep(String name) {
        while (true) {
            host.err.print("snapshot: keep or discard what it did? [k/d] ");
            host.err.flush();
            StringBuilder answer = new StringBuilder();
            int c = Lima.io(host.in::read);
            for (; c >= 0 && c != '\n'; c = Lima.io(host.in::read)) {
                answer.append((char) c);
            }
            String word = answer.toString().strip().toLowerCase(Locale.ROOT);
            if (word.matches("k|keep|d|discard")) {
                return word.startsWith("k");
            }
            if (c < 0) {
                throw new Lima.Failure(
                        "the trial stays open; to end it: " + host.command + " try " + name + " --keep (or --discard)");
            }
        }
    }

    /** Runs the command by the script sandbox: of the same class path, else by its JBang name. */
    private int sandbox(String name, Path dir) {
        List<String> call = new ArrayList<>(host.sandbox(lima));
        call.addAll(List.of(name, dir.toString(), "--"));
        call.addAll(command);
        return Lima.io(() -> {
            ProcessBuilder builder = new ProcessBuilder(call).inheritIO();
            builder.environment().clear();
            builder.environment().putAll(host.env);
            return builder.start().waitFor();
        });
    }

    // ------------------------------------------------------------------------------------------------------ the change

    /** What is to be done, once it is sure that it can be; AT_REST: with the machine off. */
    record Plan(boolean atRest, Runnable work) {}

    /** Locks the sandbox, mends what an interrupted call left, plans, and does it, the machine stopped meanwhile. */
    private int atRest(String typed, Manner manner, Function<Snapshots, Plan> planner) {
        String name = instance(typed, manner.foreign).name;
        while (manner.whenIdle && !sessions(name).isEmpty()) {
            life.progress.accept("waiting for the end of " + String.join(", ", sessions(name)));
            LockSupport.parkNanos(2_000_000_000L);
        }
        try (Life.Lock lock = life.lock(name)) {
            Sandboxed is = instance(name, manner.foreign);
            Snapshots of = new Snapshots(is, lock);
            of.mend();
            try {
                Plan plan = planner.apply(of);
                if (plan.atRest && is.status.equals("Running")) {
                    stop(is, manner);
                }
                plan.work.run();
                of.record();
            } finally {
                if (Files.exists(owed(name))) { // by this call or one that was killed
                    life.start(name, Duration.ofMinutes(30), lock); // an emulated machine takes its time
                    lock.making("", null);
                    require(name, "Running");
                    Lima.io(() -> Files.deleteIfExists(owed(name)));
                }
            }
        }
        return 0;
    }

    private void stop(Sandboxed is, Manner manner) {
        List<String> open = sessions(is.name);
        if (!open.isEmpty() && !manner.force) {
            throw new Lima.Failure("open in " + is.name + ": " + String.join("; ", open)
                    + "\nFor this it has to stop, which ends them: --force does it, --when-idle waits for their end.");
        }
        host.say("stopping " + is.name + "; it is started again afterwards");
        Lima.io(() -> Files.writeString(owed(is.name), ""));
        life.stop(is.name);
        require(is.name, "Stopped");
    }

    /** Where it is noted that a call stopped a sandbox to start it again; the next call does, here or of sandboxes. */
    private Path owed(String name) {
        return lima.state("restart").resolve(name);
    }

    private void require(String name, String status) {
        String now = instance(name, true).status;
        if (!now.equals(status)) {
            throw new Lima.Failure(name + " should be " + status.toLowerCase(Locale.ROOT) + " now, but limactl says "
                    + now + "; see: limactl list " + name);
        }
    }

    /** The open sessions of a sandbox, from the records that sandbox keeps of its own: {@code claude, 34 min}. */
    private List<String> sessions(String name) {
        File[] records = lima.state("sessions").resolve(name).toFile().listFiles((d, f) -> f.matches("[0-9]{1,9}"));
        return Stream.ofNullable(records).flatMap(Stream::of).flatMap(file -> {
            try {
                String[] words = Files.readString(file.toPath()).strip().split(" ", 2);
                long born = Long.parseLong(words[0]);
                return ProcessHandle.of(Long.parseLong(file.getName()))
                        .filter(p -> Math.abs(Life.born(p) - born) < 10_000)
                        .map(p -> words[1] + ", " + Duration.ofMillis(System.currentTimeMillis() - born).toMinutes()
                                + " min")
                        .stream();
            } catch (IOException | RuntimeException ended) {
                return Stream.<String>empty();
            }
        }).toList();
    }

    /** The instance that is meant, if it can be worked with. */
    private Sandboxed instance(String typed, boolean foreign) {
        Sandboxed is = found(typed);
        for (int i = 0; i < 6 && is.status.equals("Broken"); i++) { // for a second or two so while it is being stopped
            LockSupport.parkNanos(i * 300_000_000L);
            is = found(typed);
        }
        if (is.kind.equals("base")) {
            throw new Lima.Failure(2, is.name + " is a base, which stays as it was made; snapshots are of sandboxes");
        }
        if (is.status.equals("Broken")) {
            throw new Lima.Failure(is.name + " is broken; first: " + host.sibling("sandbox") + " " + is.name + " true");
        }
        if (is.kind.isEmpty() && !foreign) {
            throw new Lima.Failure(is.name + " was not made by this tool; --foreign works with it all the same");
        }
        return is;
    }

    private Sandboxed found(String typed) {
        List<Sandboxed> all = lima.list().stream().map(Sandboxed::new).toList();
        List<Sandboxed> found = all.stream().filter(typed.equals(".")
                ? i -> i.kind.equals("sandbox") && i.mounts.stream().anyMatch(m -> real(host.cwd).startsWith(real(m)))
                : i -> i.name.equals(typed)).toList();
        if (found.size() != 1) {
            throw new Lima.Failure(2, found.isEmpty()
                    ? "no sandbox " + (typed.equals(".") ? "has this directory" : typed) + "; there are: "
                            + all.stream().filter(i -> !i.kind.equals("base")).map(i -> i.name)
                                    .collect(Collectors.joining(", "))
                    : "several sandboxes have this directory: "
                            + found.stream().map(i -> i.name).collect(Collectors.joining(", ")));
        }
        return found.get(0);
    }

    private static Path real(Path path) {
        return Files.exists(path) ? Lima.io(path::toRealPath) : path;
    }

    /** What limactl tells of an instance, as far as it matters here. */
    static final class Sandboxed {
        final String name;
        final String status;
        final Path dir;
        final String vmType;
        /** sandbox or base; empty for an instance that this tool did not make. */
        final String kind;
        final List<Path> mounts = new ArrayList<>();
        final boolean moreDisks;

        Sandboxed(JsonNode node) {
            name = node.path("name").asText();
            status = node.path("status").asText();
            dir = Path.of(node.path("dir").asText());
            vmType = node.path("vmType").asText();
            Matcher mark = Pattern.compile("kind=([a-z]+)")
                    .matcher(node.path("config").path("param").path("sandbox").asText());
            kind = mark.find() ? mark.group(1) : "";
            node.path("config").path("mounts").forEach(m -> mounts.add(Path.of(m.path("location").asText())));
            moreDisks = !node.path("config").path("additionalDisks").isEmpty();
        }
    }

    // --------------------------------------------------------------------------------------------------- the snapshots

    /** A snapshot that there is. */
    record Kept(String tag, String method, Instant created) {
        static Kept read(Path meta) {
            JsonNode node = Lima.io(() -> Lima.Json.MAPPER.readTree(meta.toFile()));
            return new Kept(node.path("tag").asText(), node.path("method").asText(),
                    Instant.parse(node.path("created").asText()));
        }

        String json() {
            return Lima.io(() -> Lima.Json.MAPPER.writeValueAsString(
                    Lima.Json.MAPPER.createObjectNode().put("tag", tag).put("method", method).put("created",
                            "" + created)));
        }
    }

    /**
     * The snapshots of one sandbox, in {@code $LIMA_HOME/_sandbox/snapshots/NAME/}: a directory per tag with meta.json
     * and, of a copy, the files; {@code .part}, which is unfinished whatever it is; {@code .apply}, an apply that is ready;
     * {@code .applied}, the last one.
     *
     * <p>Nothing there has a tag's name before it is complete. An apply of a copy is prepared in {@code .apply}:
     * {@code new/} with the files to put in place, {@code keep/} with the present state. The one rename of
     * {@code new/disk} over the disk is the moment: before it the old state holds, after it the new one, and what is
     * left to do, small files and {@code keep/}, is done by {@link #mend} if this call does not come to it.
     */
    final class Snapshots {
        /** What a machine's disk consists of, as far as there is of it (its names in Lima 2.0 to 2.2). */
        private static final List<String> FILES = List.of("disk", "basedisk", "vz-efi", "kernel", "kernel.cmdline",
                "initrd", "iso");
        /** Kept with it, so that it can be looked at and cloned, and not put back: mounts and resources stay. */
        private static final List<String> ALSO = List.of("lima.yaml", "lima-version");

        final Sandboxed is;
        private final Life.Lock lock;
        private final Path dir;
        private final Path part;
        private final Path ready;
        /** The tag of the last apply whose replaced state is kept. */
        private final Path mark;

        Snapshots(Sandboxed is, Life.Lock lock) {
            this.is = is;
            this.lock = lock;
            dir = lima.state("snapshots").resolve(is.name);
            part = dir.resolve(".part");
            ready = dir.resolve(".apply");
            mark = dir.resolve(".applied");
        }

        /** All there are, the oldest first: copies by their directories, the others as qemu-img tells. */
        List<Kept> all() {
            Map<String, Kept> all = new TreeMap<>();
            internal(is.dir.resolve("disk")).forEach(k -> all.putIfAbsent(k.tag, k));
            records().filter(k -> k.method.equals("copy")).forEach(k -> all.put(k.tag, k));
            return all.values().stream().sorted(Comparator.comparing(Kept::created)).toList();
        }

        private Stream<Kept> records() {
            return Stream.ofNullable(dir.toFile().list((d, f) -> !f.startsWith("."))).flatMap(Stream::of)
                    .map(tag -> meta(tag)).filter(Files::exists).map(Kept::read);
        }

        private Path meta(String tag) {
            return dir.resolve(tag).resolve("meta.json");
        }

        /** The snapshots in a disk; -U: of a running machine too. */
        private List<Kept> internal(Path disk) {
            List<Kept> found = new ArrayList<>();
            info(disk).path("snapshots").forEach(s -> found.add(new Kept(s.path("name").asText(), "internal",
                    Instant.ofEpochSecond(s.path("date-sec").asLong()))));
            return found;
        }

        private JsonNode info(Path disk) {
            return !is.vmType.equals("qemu") || !Files.exists(disk) ? Lima.Json.MAPPER.createObjectNode()
                    : Lima.io(() -> Lima.Json.MAPPER.readTree(ran(List.of("qemu-img", "info", "-U", "--output=json",
                            disk.toString()))));
        }

        boolean qcow2() {
            return info(is.dir.resolve("disk")).path("format").asText().equals("qcow2");
        }

        /** How many of a tag are in the disk: limactl makes a second one without a word (seen on 2.2.0). */
        long count(String tag) {
            return internal(is.dir.resolve("disk")).stream().filter(k -> k.tag.equals(tag)).count();
        }

        void mustNotHave(String tag) {
            if (all().stream().anyMatch(k -> k.tag.equals(tag))) {
                throw new Lima.Failure(is.name + " has a snapshot " + tag + " already. To go back to it: "
                        + host.command
                        + " apply " + is.name + " " + tag + "; to make it anew, first: " + host.command + " delete "
                        + is.name + " " + tag);
            }
        }

        /** The snapshot that is meant; none or an unknown one is an error that lists them. */
        Kept named(Aim aim) {
            String there = all().isEmpty() ? is.name + " has no snapshots"
                    : "snapshots of " + is.name + ": "
                            + all().stream().map(Kept::tag).collect(Collectors.joining(", "));
            String tag = aim.tag().orElseThrow(() -> new Lima.Failure(2, "which one? " + there));
            return all().stream().filter(k -> k.tag.equals(tag)).findFirst()
                    .orElseThrow(() -> new Lima.Failure(2, "no snapshot " + tag + "; " + there));
        }

        /** The snapshots in the present disk that are not in the one to come. */
        List<String> lostBy(Kept kept) {
            if (kept.method.equals("internal")) {
                return List.of();
            }
            List<String> stay = internal(dir.resolve(kept.tag).resolve("disk")).stream().map(Kept::tag).toList();
            return internal(is.dir.resolve("disk")).stream().map(Kept::tag)
                    .filter(t -> !stay.contains(t) && !t.equals(KEPT)).toList();
        }

        void create(String tag, boolean internal) {
            if (internal) {
                long before = count(tag);
                limactl("create", tag);
                if (count(tag) != before + 1) {
                    throw new Lima.Failure("limactl says that it made the snapshot " + tag + ", but it is not there");
                }
                return;
            }
            fresh();
            FILES.forEach(f -> copy(is.dir.resolve(f), part.resolve(f)));
            describe(part, new Kept(tag, "copy", now()));
            require(is.name, "Stopped"); // or somebody has started it meanwhile, and the copy may be torn
            move(part, dir.resolve(tag));
        }

        void apply(Kept kept, boolean keep) {
            String tag = kept.tag;
            boolean undo = tag.equals(KEPT);
            boolean again = keep && resumes(tag);
            if (kept.method.equals("internal")) {
                applyInternal(tag, keep, again);
            } else if (!undo || !again) {
                applyCopy(tag, keep && !again);
            }
            if (undo) {
                Lima.io(() -> Files.deleteIfExists(mark)); // the same once more is an undo of the undo
            }
            require(is.name, "Stopped");
        }

        /**
         * Did an interrupted apply of this tag come so far that what it replaced is kept, and did nothing boot since? Then
         * what is there now must not be kept in its place.
         */
        private boolean resumes(String tag) {
            return Files.exists(mark) && Lima.io(() -> Files.readString(mark)).equals(tag)
                    && is.dir.resolve("ha.stderr.log").toFile().lastModified() <= mark.toFile().lastModified();
        }

        /** Of several with the same tag limactl applies and deletes the oldest. */
        private void applyInternal(String tag, boolean keep, boolean again) {
            boolean undo = tag.equals(KEPT);
            if (keep && !again) {
                if (!undo) {
                    delete(KEPT);
                }
                create(KEPT, true);
                Lima.io(() -> Files.writeString(Files.createDirectories(dir).resolve(".applied"), tag));
            }
            if (!undo || !again || count(KEPT) > 1) {
                limactl("apply", tag);
            }
            while (undo && keep && count(KEPT) > 1) {
                limactl("delete", KEPT);
            }
        }

        private void applyCopy(String tag, boolean keep) {
            fresh();
            Path next = Lima.io(() -> Files.createDirectory(part.resolve("new")));
            FILES.forEach(f -> copy(dir.resolve(tag).resolve(f), next.resolve(f)));
            if (keep) {
                Path present = Lima.io(() -> Files.createDirectory(part.resolve("keep")));
                FILES.stream().filter(f -> !f.equals("disk")).forEach(f -> copy(is.dir.resolve(f), present.resolve(f)));
                Lima.io(() -> Files.createLink(present.resolve("disk"), real(is.dir.resolve("disk")))); // it gets replaced
                describe(present, new Kept(KEPT, "copy", now()));
                Lima.io(() -> Files.writeString(part.resolve("mark"), tag));
            }
            require(is.name, "Stopped");
            move(part, ready);
            move(ready.resolve("new/disk"), real(is.dir.resolve("disk")));
            mend();
            while (keep && count(KEPT) > 0) { // an older one, which came with the disk
                limactl("delete", KEPT);
            }
        }

        void delete(String tag) {
            remove(dir.resolve(tag));
            for (long n = count(tag); n > 0; n--) {
                limactl("delete", tag);
                if (count(tag) != n - 1) {
                    throw new Lima.Failure("limactl says that it deleted the snapshot " + tag + ", but it is there");
                }
            }
        }

        /** After a kill -9, and as the end of an apply: what is ready is finished, what is not goes. */
        void mend() {
            remove(part);
            if (Files.exists(ready.resolve("new/disk"))) {
                remove(ready);
            }
            if (Files.exists(ready)) {
                FILES.stream().filter(f -> Files.exists(ready.resolve("new").resolve(f)))
                        .forEach(f -> move(ready.resolve("new").resolve(f), is.dir.resolve(f)));
                if (Files.exists(ready.resolve("keep"))) {
                    remove(dir.resolve(KEPT));
                    move(ready.resolve("keep"), dir.resolve(KEPT));
                }
                if (Files.exists(ready.resolve("mark"))) {
                    move(ready.resolve("mark"), mark);
                }
                remove(ready);
            }
        }

        /** Makes the records of internal snapshots, which others read, fit what is in the disk. */
        void record() {
            List<Kept> there = all();
            records().filter(k -> there.stream().noneMatch(t -> t.tag.equals(k.tag) && t.method.equals(k.method)))
                    .forEach(k -> remove(dir.resolve(k.tag)));
            there.stream().filter(k -> k.tag.matches("[A-Za-z][A-Za-z0-9._-]*") && !Files.exists(meta(k.tag)))
                    .forEach(k -> {
                        fresh();
                        Lima.io(() -> Files.writeString(part.resolve("meta.json"), k.json() + "\n"));
                        move(part, dir.resolve(k.tag));
                    });
        }

        /** What is not in a snapshot, for the end of a sentence. */
        String not() {
            return (is.mounts.isEmpty() ? "" : "\nNot in a snapshot, as it is mounted (git is for that): "
                    + is.mounts.stream().map(Path::toString).collect(Collectors.joining(", ")))
                    + (is.moreDisks ? "\nNot in a snapshot: its additional disks" : "");
        }

        private void limactl(String verb, String tag) {
            lock.making("start " + is.name, null); // after our death the next call waits for this limactl, as for a start
            Lima.Result r = life.limactl(List.of("snapshot", verb, is.name, "--tag", tag), lock, () -> true);
            lock.making("", null);
            if (r.code() != 0) {
                throw new Lima.Failure("limactl snapshot " + verb + " of " + is.name + " failed: "
                        + Lima.reason(r.err()));
            }
        }

        private void describe(Path where, Kept kept) {
            ALSO.forEach(f -> copy(is.dir.resolve(f), where.resolve(f)));
            Lima.io(() -> Files.writeString(where.resolve("meta.json"), kept.json() + "\n"));
        }

        /** Copies a file if it is there: its blocks are shared where the file system can, else holes stay holes. */
        private void copy(Path from, Path to) {
            if (!Files.exists(from)) {
                return;
            }
            if (from.endsWith("disk")) {
                life.progress.accept("copying the disk");
            }
            List<String> cp = System.getProperty("os.name").startsWith("Mac") ? List.of("cp", "-c")
                    : List.of("cp", "--reflink=auto", "--sparse=always");
            ran(Stream.concat(cp.stream(), Stream.of(from.toString(), to.toString())).toList());
        }

        private void fresh() {
            remove(part);
            Lima.io(() -> Files.createDirectories(part));
        }

        private void move(Path from, Path to) {
            Lima.io(() -> Files.move(from, to, StandardCopyOption.ATOMIC_MOVE));
        }

        /** A directory on its way out is no snapshot and no apply any more, however far the removal comes. */
        private void remove(Path path) {
            if (Files.exists(path) && !path.equals(part)) {
                remove(part);
                move(path, part);
            }
            ran(List.of("rm", "-rf", "--", part.toString()));
        }
    }

    private static Instant now() {
        return Instant.now().truncatedTo(ChronoUnit.SECONDS);
    }

    /** Runs a program, which must succeed; its stdout. */
    private String ran(List<String> command) {
        Lima.Result r = lima.run(Duration.ofHours(2), null, command);
        if (r.code() != 0) {
            throw new Lima.Failure(command.get(0) + " failed: " + r.err().strip());
        }
        return r.out();
    }

    // -------------------------------------------------------------------------------------------------- the repository

    /**
     * The git repository of a trial. An agent may have written all of it, .git too, and git runs what a repository's
     * configuration names: hooks, filters, fsmonitor. So git never sees that configuration: it works with a git
     * directory of ours, whose objects and refs are links to the repository's, with a HEAD, an index and a configuration
     * of its own (as git-new-workdir once did); the user's own ~/.gitconfig holds. Submodules, which have configurations
     * of their own, are taken out of the index before git looks for changes.
     */
    final class Repository {
        final Path top;
        final String tag;
        /** Where it all began, for whoever ends the trial: top, git, common, head, commit, tag. */
        final ObjectNode note;
        private final Path git;
        private final Path common;
        private final Path own;

        /** Of a trial that begins. */
        Repository(Path dir, String tag) {
            this(found(dir).put("tag", tag));
            note.put("head", headText()).put("commit", git("rev-parse", "--verify", "HEAD^{commit}"));
        }

        /** Of one that is open. */
        Repository(Path note) {
            this(Lima.io(() -> (ObjectNode) Lima.Json.MAPPER.readTree(note.toFile())));
        }

        private Repository(ObjectNode note) {
            this.note = note;
            top = Path.of(note.path("top").asText());
            git = Path.of(note.path("git").asText());
            common = Path.of(note.path("common").asText());
            tag = note.path("tag").asText();
            if (Files.exists(common.resolve("reftable"))) {
                throw new Lima.Failure(top + " keeps its refs as a reftable, which try does not know");
            }
            own = lima.state("trials").resolve(tag + ".git");
            ran(List.of("rm", "-rf", "--", own.toString()));
            ran(List.of("git", "init", "-q", "--template=", "--bare", own.toString()));
            ran(List.of("rm", "-rf", "--", own + "/refs", own + "/objects", own + "/hooks"));
            for (String shared : List.of("refs", "objects", "packed-refs", "info", "shallow")) {
                Lima.io(() -> Files.createSymbolicLink(own.resolve(shared), common.resolve(shared)));
            }
            for (String plain : List.of("core.autocrlf", "core.eol", "core.filemode", "core.ignorecase",
                    "core.precomposeunicode", "core.symlinks", "user.name", "user.email")) { // none of them names a program
                String value = lima.run(Duration.ofMinutes(1), null, List.of("git", "config", "--file",
                        common.resolve("config").toString(), "--get", plain)).out().strip();
                if (!value.isEmpty()) {
                    ran(List.of("git", "config", "--file", own.resolve("config").toString(), plain, value));
                }
            }
            ran(List.of("git", "config", "--file", own.resolve("config").toString(), "core.bare", "false"));
            Lima.io(() -> Files.writeString(own.resolve("HEAD"), headText() + "\n"));
        }

        /** The repository around a directory, by its files alone. */
        private static ObjectNode found(Path dir) {
            Path top = real(dir);
            while (top != null && !Files.exists(top.resolve(".git"))) {
                top = top.getParent();
            }
            if (top == null) {
                throw new Lima.Failure(2, dir + " is in no git repository; try needs one");
            }
            Path git = pointed(top.resolve(".git"), "gitdir: ");
            return Lima.Json.MAPPER.createObjectNode().put("top", top.toString()).put("git", git.toString())
                    .put("common",
                            (Files.exists(git.resolve("commondir")) ? pointed(git.resolve("commondir"), "") : git)
                                    .toString());
        }

        private static Path pointed(Path file, String before) {
            return Files.isDirectory(file) ? file : Lima.io(() -> file.resolveSibling(
                    Files.readString(file).strip().substring(before.length())).toRealPath());
        }

        private String headText() {
            String head = Lima.io(() -> Files.readString(git.resolve("HEAD"))).strip();
            if (!head.matches("ref: refs/heads/[^\\p{Cntrl}]+|[0-9a-f]{40,64}")) {
                throw new Lima.Failure("the HEAD of " + top + " is none that try knows: " + head);
            }
            return head;
        }

        private void head(String text) {
            Lima.io(() -> Files.writeString(own.resolve("HEAD"), text + "\n"));
            replace("HEAD");
        }

        /** Puts our HEAD or index in the place of the repository's, never through a link that stands there. */
        private void replace(String file) {
            Lima.io(() -> Files.move(Files.copy(own.resolve(file), git.resolve(file + ".sandbox"),
                    StandardCopyOption.REPLACE_EXISTING), git.resolve(file), StandardCopyOption.ATOMIC_MOVE));
        }

        /** The branch that was left, or the commit. */
        String branch() {
            return note.path("head").asText().replaceFirst("^ref: refs/heads/", "");
        }

        private String git(String... words) {
            return tried(words).map(String::strip).orElseThrow(() -> new Lima.Failure("git " + words[0] + " failed in "
                    + top + "; the trial " + tag + " stays open"));
        }

        private Optional<String> tried(String... words) {
            Lima.Result r = lima.run(Duration.ofMinutes(30), null, Stream.concat(Stream.of("git", "-C", top.toString(),
                    "--git-dir=" + own, "--work-tree=" + top, "-c", "core.hooksPath=/dev/null", "-c",
                    "core.fsmonitor=false", "-c", "commit.gpgSign=false", "-c", "submodule.recurse=false", "-c",
                    "gc.auto=0"), Stream.of(words)).toList());
            return r.code() == 0 ? Optional.of(r.out()) : Optional.empty();
        }

        /** The tree of all that lies there and is not ignored. */
        private String tree() {
            git("read-tree", "HEAD");
            for (String line : git("ls-files", "-s", "-z").split("\0")) {
                if (line.startsWith("160000 ")) {
                    git("update-index", "--force-remove", "--", line.substring(line.indexOf('\t') + 1));
                }
            }
            git("add", "-A");
            return git("write-tree");
        }

        void mustBeClean() {
            if (!tree().equals(git("rev-parse", "HEAD^{tree}"))) {
                throw new Lima.Failure(
                        top + " has changes that are not committed; first: git stash -u (or commit them)");
            }
        }

        void begin() {
            git("update-ref", "refs/heads/agent/" + tag, note.path("commit").asText());
            head("ref: refs/heads/agent/" + tag);
        }

        /** A commit of all that lies there, on top of whatever was committed here and on the branches of the trial. */
        private String saved() {
            String head = tried("rev-parse", "--verify", "-q", "HEAD^{commit}").map(String::strip)
                    .orElse(note.path("commit").asText());
            Set<String> parents = new LinkedHashSet<>(List.of(head));
            for (String ref : List.of("refs/heads/agent/" + tag, "refs/heads/" + branch())) {
                tried("rev-parse", "--verify", "-q", ref + "^{commit}").map(String::strip)
                        .filter(c -> !c.equals(note.path("commit").asText())).ifPresent(parents::add);
            }
            String tree = tree();
            if (parents.size() == 1 && tree.equals(git("rev-parse", head + "^{tree}"))) {
                return head;
            }
            List<String> call = new ArrayList<>(List.of("commit-tree", tree, "-m", "What the trial " + tag + " left"));
            parents.forEach(p -> call.addAll(List.of("-p", p)));
            return git(call.toArray(String[]::new));
        }

        void keep() {
            git("update-ref", "refs/heads/agent/" + tag, saved());
            head("ref: refs/heads/agent/" + tag);
            replace("index");
            close();
        }

        void discard() {
            String commit = note.path("commit").asText();
            if (tried("rev-parse", "--verify", "-q", "refs/heads/agent/" + tag).isPresent()) { // else it was done already
                String saved = saved();
                if (tried("rev-parse", "--verify", "-q", "refs/sandbox/discarded/" + tag).isEmpty()) { // or cut short here
                    git("update-ref", "refs/sandbox/discarded/" + tag, saved);
                }
                git("read-tree", "-u", "--reset", commit); // the index has all that lies there, so all of it goes
                if (!branch().equals(commit)) {
                    git("update-ref", "refs/heads/" + branch(), commit);
                }
                head(note.path("head").asText());
                replace("index");
                git("update-ref", "-d", "refs/heads/agent/" + tag);
            }
            close();
        }

        private void close() {
            ran(List.of("rm", "-rf", "--", own.toString()));
        }
    }

    // -------------------------------------------------------------------------------------------------------- the host

    /** What comes from outside: environment, directory, streams; and how we speak. */
    static final class Host {
        final Map<String, String> env;
        final Path cwd;
        final PrintWriter out;
        final PrintWriter err;
        final InputStream in;
        /** How we were called, so that hints can be pasted. */
        final String command;
        final boolean terminal;

        Host(Map<String, String> env, Path cwd, PrintWriter out, PrintWriter err, InputStream in, String command,
                boolean terminal) {
            this.env = env;
            this.cwd = cwd;
            this.out = out;
            this.err = err;
            this.in = in;
            this.command = command;
            this.terminal = terminal;
        }

        static Host ofThisProcess() {
            return new Host(System.getenv(), Path.of("").toAbsolutePath(), new PrintWriter(System.out, true, UTF_8),
                    new PrintWriter(System.err, true, UTF_8), new FileInputStream(FileDescriptor.in),
                    System.getProperty("sandbox.command",
                            System.getenv("JBANG_LAUNCH_CMD") != null ? "jbang snapshot.java" : "snapshot"),
                    Lima.io(() -> new ProcessBuilder("sh", "-c", "test -t 0 && test -t 2").inheritIO().start()
                            .waitFor() == 0));
        }

        /** How {@code sandbox} is started from here: beside us on the class path, as a file, or by its JBang name. */
        List<String> sandbox(Lima lima) {
            String sandbox = sibling("sandbox");
            if (Snapshot.class.getResource("Sandbox.class") != null) {
                return List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-cp",
                        System.getProperty("java.class.path"), "-Dsandbox.command=" + sandbox,
                        "dev.limasandbox.Sandbox");
            }
            String jbang = lima.which("jbang");
            Path file = cwd.resolve("sandbox.java");
            Path catalog = Path.of(env.getOrDefault("JBANG_DIR", env.getOrDefault("HOME", "/") + "/.jbang"),
                    "jbang-catalog.json");
            String alias = !command.equals("jbang snapshot.java") ? sandbox.replaceFirst("^jbang ", "")
                    : Files.exists(file) ? file.toString() : Files.exists(catalog) && Lima.io(() -> Lima.Json.MAPPER
                            .readTree(catalog.toFile())).at("/catalogs/org").isObject() ? "sandbox@org" : "";
            if (command.startsWith("jbang ") && !jbang.equals("jbang") && !alias.isEmpty()) {
                return List.of(jbang, alias);
            }
            if (!lima.which("sandbox").equals("sandbox")) {
                return List.of(lima.which("sandbox"));
            }
            throw new Lima.Failure("this needs sandbox.java of this project, which runs the command. To get it: put it"
                    + " here beside snapshot.java, or\n  jbang app install sandbox@org");
        }

        /** Another script of this project, spelled as this one was; in a checkout the launcher itself is sandbox. */
        String sibling(String script) {
            return command.endsWith("sandbox snapshot") && script.equals("sandbox")
                    ? command.substring(0, command.length() - " snapshot".length())
                    : command.replaceFirst("\\bsnapshot(?=$|@|\\.java)", script);
        }

        void say(String line) {
            err.println("snapshot: " + line);
            err.flush();
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
