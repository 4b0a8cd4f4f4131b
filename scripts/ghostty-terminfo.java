///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Brings the description of your terminal (Ghostty, kitty, …) into sandboxes.
//JAVA 17+
//DEPS info.picocli:picocli:4.7.7
//DEPS com.fasterxml.jackson.dataformat:jackson-dataformat-yaml:2.23.0
package dev.limasandbox;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * {@code ghostty-terminfo [NAME…|--all]}: without its terminfo entry a terminal's name means nothing in a guest, and
 * programs there draw garbage or refuse. {@link #call()} tells the story; {@link Entries} has the descriptions for a host
 * that lacks them itself.
 *
 * <p>{@code sandbox} does the same by itself for the terminal that it is called from, if this computer has the entry.
 */
@Command(
        name = "ghostty-terminfo",
        sortOptions = false,
        customSynopsis = "ghostty-terminfo [NAME...|--all] [--term TERM] [--as ENTRY]%n",
        description = {
                "Installs the description of your terminal in running sandboxes.",
                "",
                "Ghostty's, kitty's, any other's, for all users there.",
                "",
                "It is taken from this computer (infocmp), else from this program, which knows:",
                GhosttyTerminfo.KNOWN + ".",
                "Without NAME it is for the sandbox of this directory.%n"
        },
        footer = {
                "",
                "Examples:",
                "  ghostty-terminfo myapp                    for the terminal that you sit at",
                "  ghostty-terminfo --all --term xterm-kitty",
                "  ghostty-terminfo myapp --term rare-term --as vt220",
                "",
                "Exit codes: 0 when all of them know it, 125 otherwise, 2 for usage."
        })
class GhosttyTerminfo implements Callable<Integer> {
    static final String KNOWN = "ghostty, kitty, wezterm, alacritty, foot, contour, rio, tmux";

    @Parameters(paramLabel = "NAME", arity = "0..*", description = "Sandboxes; '.' is this directory's.")
    List<String> names = new ArrayList<>();

    @Option(names = "--all", description = "All running sandboxes of this tool.")
    boolean all;

    @Option(names = "--term", paramLabel = "TERM", description = "The terminal (default: TERM of the environment).")
    String termOption;

    @Option(names = "--as", paramLabel = "ENTRY",
            description = "For a terminal that nobody knows: describe it as ENTRY, which the sandbox knows.")
    String as;

    @Option(names = {"-h", "--help"}, usageHelp = true, description = "Show this help.")
    boolean help;

    private final Caller caller;
    private final Lima lima;

    GhosttyTerminfo(Caller caller) {
        this.caller = caller;
        lima = new Lima(caller.env);
    }

    /** Runs one command line and ends the process with its exit code. */
    public static void main(String[] args) {
        Caller caller = Caller.ofThisProcess("ghostty-terminfo");
        System.exit(caller.run(new GhosttyTerminfo(caller), args));
    }

    @Override
    public Integer call() {
        String term = termOption != null ? termOption : caller.env.getOrDefault("TERM", "");
        if (!term.matches("[A-Za-z0-9][A-Za-z0-9.+_-]{0,60}")) {
            throw new Lima.Failure(2, term.isEmpty() ? "which terminal? TERM is not set; --term names it"
                    : "'" + term + "' cannot be a terminal's name");
        }
        if (as != null && !as.matches("[A-Za-z0-9][A-Za-z0-9.+_-]{0,60}")) {
            throw new Lima.Failure(2, "'" + as + "' cannot be a terminal's name");
        }
        List<String> failures = new ArrayList<>();
        for (String name : sandboxes()) {
            try {
                caller.say(name + " " + install(name, term));
            } catch (Lima.Failure failure) {
                failures.add(name + ": " + failure.getMessage());
            }
        }
        failures.forEach(caller::say);
        return failures.isEmpty() ? 0 : 125;
    }

    /** The names that are meant, each of a running sandbox. */
    private List<String> sandboxes() {
        if (all && !names.isEmpty()) {
            throw new Lima.Failure(2, "--all and names: one of them");
        }
        List<JsonNode> instances = lima.list();
        if (all) {
            List<String> running = instances.stream().filter(i -> Caller.ours(i) && Caller.runs(i))
                    .map(i -> i.path("name").asText()).toList();
            if (running.isEmpty()) {
                caller.say("no sandbox is running");
            }
            return running;
        }
        return (names.isEmpty() ? List.of(".") : names).stream()
                .map(word -> caller.running(caller.sandbox(word, instances))).toList();
    }

    /** Installs the entry where it is missing, system-wide, so that sudo has it too; tells what was done. */
    private String install(String name, String term) {
        if (known(name, term)) {
            return "knows " + term + " already";
        }
        Lima.Result host = fromThisComputer(term);
        String from = host.code() == 0 ? "of this computer" : as != null ? "as " + as : "of this program";
        String entry = host.code() == 0 ? host.out()
                : as != null ? term + "|" + as + " under another name,\n\tuse=" + as + ",\n" : Entries.of(term);
        if (entry == null) {
            throw new Lima.Failure("neither this computer nor this program knows the terminal " + term
                    + ".\nTo describe it as another one: " + caller.command + " " + name + " --term " + term
                    + " --as xterm-256color\nOr for one call: TERM=xterm-256color "
                    + caller.sibling("sandbox") + " " + name);
        }
        // /etc/terminfo is the system's own place for additions; Debian and Ubuntu look there first.
        Lima.Result tic = lima.ssh(name, Duration.ofMinutes(2), entry, "sudo tic -x -o /etc/terminfo -");
        if (tic.code() != 0 || !known(name, term)) {
            throw new Lima.Failure("tic did not take the entry of " + term + ": " + tic.err().strip());
        }
        return "knows " + term + " now, by the entry " + from;
    }

    /** Asked as root and with nothing of a user's own, which is how sudo looks for it. */
    private boolean known(String name, String term) {
        Lima.Result r = lima.ssh(name, Duration.ofMinutes(2), null, "sudo env -i infocmp " + term + " >/dev/null");
        if (r.code() == 255) {
            throw new Lima.Failure("no connection to it: " + r.err().strip());
        }
        return r.code() == 0;
    }

    /** macOS has infocmp, and terminals set TERMINFO to a folder of their own; a slim Linux may lack both. */
    private Lima.Result fromThisComputer(String term) {
        try {
            return lima.run(Duration.ofSeconds(20), null, List.of("infocmp", "-x", term));
        } catch (Lima.Failure noInfocmp) {
            return new Lima.Result(127, "", "");
        }
    }

    /**
     * Descriptions for a host without them, as differences to xterm-256color, which every guest has. Written from what
     * the terminals document of themselves; the names with capitals are extensions that tmux, vim and neovim read.
     */
    static final class Entries {
        /** Truecolor, styled and coloured underlines, cursor shapes, clipboard, bracketed paste, focus, synchronised output. */
        private static final String MODERN = """
                \tTc, Su, XF, AX, smxx=\\E[9m, rmxx=\\E[29m,
                \tSmulx=\\E[4\\:%p1%dm,
                \tSetulc=\\E[58\\:2\\:\\:%p1%{65536}%/%d\\:%p1%{256}%/%{255}%&%d\\:%p1%{255}%&%dm,
                \tSs=\\E[%p1%d q, Se=\\E[2 q,
                \tMs=\\E]52;%p1%s;%p2%s\\007,
                \tBE=\\E[?2004h, BD=\\E[?2004l, PS=\\E[200~, PE=\\E[201~,
                \tfe=\\E[?1004h, fd=\\E[?1004l, kxIN=\\E[I, kxOUT=\\E[O,
                \tSync=\\E[?2026%?%p1%{1}%=%th%el%;,
                """;

        private static final Map<String, String> NAMES = new LinkedHashMap<>();

        static {
            NAMES.put("xterm-ghostty", "xterm-ghostty|ghostty|Ghostty");
            NAMES.put("ghostty", NAMES.get("xterm-ghostty"));
            NAMES.put("xterm-kitty", "xterm-kitty|kitty");
            NAMES.put("kitty", "kitty|kitty under its plain name");
            NAMES.put("wezterm", "wezterm|WezTerm");
            NAMES.put("alacritty", "alacritty|Alacritty");
            NAMES.put("foot", "foot|foot on Wayland");
            NAMES.put("foot-extra", "foot-extra|foot with its extensions");
            NAMES.put("contour", "contour|contour-latest|Contour");
            NAMES.put("rio", "rio|xterm-rio|Rio");
            NAMES.put("xterm-rio", NAMES.get("rio"));
        }

        private Entries() {}

        /** The source of an entry for tic; null for a terminal that is not known here. */
        static String of(String term) {
            if (term.matches("tmux(-256color)?")) {
                // Inside tmux the keys and the colours are screen's, with italics and an own status line.
                return term + "|tmux,\n" + MODERN + "\tsitm=\\E[3m, ritm=\\E[23m, use=screen-256color,\n";
            }
            String names = NAMES.get(term);
            return names == null ? null : names + ",\n" + MODERN + "\tuse=xterm-256color,\n";
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
