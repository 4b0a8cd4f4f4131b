///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Opens a sandbox in Zed, VS Code or IntelliJ, and makes it known to ssh.
//JAVA 17+
//DEPS info.picocli:picocli:4.7.7
//DEPS com.fasterxml.jackson.dataformat:jackson-dataformat-yaml:2.23.0
package dev.limasandbox;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * {@code editor zed|vscode|idea|ssh NAME [DIR]}: the editor's window is here, its language servers, terminals and tasks
 * are in the sandbox. Each verb is a method; {@link Ssh} is what {@code ~/.ssh/config} gets, {@link Zed} what Zed's
 * settings get, both through {@link UserFile}, as those files are the user's.
 */
@Command(
        name = "editor",
        synopsisSubcommandLabel = "zed|vscode|idea|ssh",
        description = {
                "Opens a directory of a sandbox in an editor of this computer.", "",
                "Its language servers, terminals and tasks run in the sandbox, over ssh.",
                "NAME is the sandbox, '.' that of this directory.%n"
        },
        commandListHeading = "Verbs:%n",
        footer = {
                "",
                "Examples:",
                "  editor zed myapp                        where you are, or its project",
                "  editor zed . --forward 3000             also its port 3000, as this computer's",
                "  editor vscode myapp ~/projects/myapp/web",
                "  editor ssh myapp                        then: ssh lima-myapp",
                "  editor zed myapp --print                only show what it would do",
                "  editor zed myapp --remove               takes the entry out of the settings",
                "",
                "'editor VERB --help' tells more of each.",
                "Exit codes: 0, 125 for failures, 2 for usage."
        })
class Editor {
    /** What can be opened: its name, its programs in the order they are looked for, how to get it. */
    private record App(String title, List<String> programs, String installation) {

        static final App ZED = new App("Zed", List.of("zed", "zeditor", "zedit",
                "/Applications/Zed.app/Contents/MacOS/cli"), "https://zed.dev/download");
        static final App VSCODE = new App("VS Code", List.of("code", "codium", "code-insiders",
                "/Applications/Visual Studio Code.app/Contents/Resources/app/bin/code"),
                "https://code.visualstudio.com/download");
        static final App IDEA = new App("JetBrains Gateway", List.of("gateway", "jetbrains-gateway", "idea",
                "/Applications/IntelliJ IDEA.app/Contents/MacOS/idea"),
                "https://www.jetbrains.com/remote-development/gateway/");

        /** Its program here; /sbin/zed is another one, the event daemon of ZFS. */
        Optional<String> program(Lima lima) {
            return programs.stream().map(p -> p.startsWith("/") ? p : lima.which(p))
                    .filter(p -> p.startsWith("/") && !p.endsWith("/sbin/zed") && Files.isExecutable(Path.of(p)))
                    .findFirst();
        }
    }

    /** What every verb takes. */
    static final class Wanted {
        @Parameters(index = "0", paramLabel = "NAME", description = "The sandbox; '.' is this directory's.")
        String name;

        @Option(names = "--print", description = "Show what would be written and started, and do nothing.")
        boolean print;

        @Option(names = "--remove", description = "Take out again what was written for this sandbox.")
        boolean remove;

        @Option(names = "--rename", paramLabel = "NEW",
                description = "What was written is for NEW from now on ('sandboxes rename' does it).")
        String renamed;
    }

    @Option(names = {"-h", "--help"}, usageHelp = true, scope = CommandLine.ScopeType.INHERIT,
            description = "Show this help.")
    boolean help;

    private final Caller caller;
    private final Lima lima;
    private final Path userHome;
    private Wanted wanted;

    Editor(Caller caller) {
        this.caller = caller;
        lima = new Lima(caller.env);
        userHome = Path.of(caller.env.getOrDefault("HOME", "/"));
    }

    /** Runs one command line and ends the process with its exit code. */
    public static void main(String[] args) {
        Caller caller = Caller.ofThisProcess("editor");
        System.exit(caller.run(new Editor(caller), args));
    }

    // ----------------------------------------------------------------------------------------------------------- verbs

    @Command(name = "zed", description = {"Opens Zed, by an entry in its settings.",
            "", "The entry has a nickname, the project, and what ssh needs; --via has other ways."},
            footer = {"", "Examples:", "  editor zed myapp", "  editor zed . --forward 3000 --forward 8080:80",
                    "  editor zed myapp --via ssh"})
    int zed(@Mixin Wanted what,
            @Parameters(index = "1", paramLabel = "DIR", arity = "0..1",
                    description = "The directory (default: this one, else the first mount).") String dir,
            @Option(names = "--via", paramLabel = "WAY", defaultValue = "settings",
                    description = {"How Zed gets there: by its 'settings' (default); by 'ssh',",
                            "that is by what 'editor ssh' does; by 'port', that is by the",
                            "address of this boot, with nothing written."}) String via,
            @Option(names = "--forward", paramLabel = "[HOST:]GUEST",
                    description = "A port of the sandbox to have here; repeatable.") List<String> forwards) {
        if (!via.matches("settings|ssh|port")) {
            throw new Lima.Failure(2, "--via is settings, ssh or port, not '" + via + "'");
        }
        if (forwards != null && !via.equals("settings")) {
            throw new Lima.Failure(2, "--forward is part of the settings; else: " + caller.sibling("sandboxes")
                    + " ports NAME --add PORT");
        }
        return run(what, !via.equals("ssh"), is -> open(App.ZED, is, dir, (name, path) -> List.of(
                "ssh://" + (via.equals("port") ? address(name) : "lima-" + name) + encode(path)), (name, path) -> {
                    if (via.equals("ssh")) {
                        new Ssh(name).put();
                    } else if (via.equals("settings")) {
                        new Zed(name).put(path, forwards == null ? List.of() : forwards, Caller.runs(is));
                    }
                }));
    }

    @Command(name = "vscode", description = {"Opens VS Code, whose extension Remote-SSH goes by ~/.ssh/config.",
            "", "That gets what 'editor ssh' puts there."},
            footer = {"", "Example:", "  editor vscode myapp ~/projects/myapp/web"})
    int vscode(@Mixin Wanted what,
            @Parameters(index = "1", paramLabel = "DIR", arity = "0..1",
                    description = "The directory (default: this one, else the first mount).") String dir) {
        return run(what, false, is -> open(App.VSCODE, is, dir, (name, path) -> {
            String host = "lima-" + name;
            // VS Code makes the host's name lower-case, unless it is in this form, which Remote-SSH itself uses.
            String authority = host.equals(host.toLowerCase(Locale.ROOT)) ? host
                    : HexFormat.of().formatHex(("{\"hostName\":\"" + host + "\"}").getBytes(UTF_8));
            return List.of("--folder-uri", "vscode-remote://ssh-remote+" + authority + encode(path));
        }, (name, path) -> new Ssh(name).put()));
    }

    @Command(name = "idea", description = {"Opens JetBrains Gateway, or the one within IntelliJ IDEA.",
            "", "It goes by ~/.ssh/config, which gets what 'editor ssh' puts there."},
            footer = {"", "Example:", "  editor idea myapp"})
    int idea(@Mixin Wanted what,
            @Parameters(index = "1", paramLabel = "DIR", arity = "0..1",
                    description = "The directory (default: this one, else the first mount).") String dir) {
        return run(what, false, is -> open(App.IDEA, is, dir, (name, path) -> {
            Map<String, String> to = resolved(lima.home.resolve(name).resolve("ssh.config"), name);
            return List.of("jetbrains-gateway://connect#type=ssh&host=lima-" + name + "&port=" + to.get("port")
                    + "&user=" + encode(to.get("user")) + "&projectPath=" + encode(path).replace("/", "%2F"));
        }, (name, path) -> new Ssh(name).put()));
    }

    @Command(name = "ssh", description = {"Makes 'ssh lima-NAME' work, and any editor that reads ~/.ssh/config.",
            "", "One Include line at its top is for all sandboxes that are made known so."},
            footer = {"", "Examples:", "  editor ssh myapp", "  editor ssh myapp --remove"})
    int ssh(@Mixin Wanted what) {
        return run(what, false, is -> {
            String name = is.path("name").asText();
            if (!new Ssh(name).put() && !print()) {
                caller.say("ssh lima-" + name + " works already");
            }
        });
    }

    // ------------------------------------------------------------------------------------------- what the verbs share

    /** Does WORK for the sandbox, or takes out or renames what was written; one call of this user's at a time. */
    private int run(Wanted what, boolean inZed, Consumer<JsonNode> work) {
        wanted = what;
        for (String name : Arrays.asList(what.name, what.renamed)) {
            if (name != null && !name.matches("[A-Za-z0-9][A-Za-z0-9._-]*")
                    && (name.equals(what.renamed) || !Caller.isPath(name))) {
                throw new Lima.Failure(2, "'" + name + "' cannot be a sandbox's name");
            }
        }
        if (what.remove && what.renamed != null) {
            throw new Lima.Failure(2, "--remove and --rename: one of them");
        }
        return Lima.io(() -> {
            try (FileChannel channel = FileChannel.open(lima.state("editor").resolve("lock"),
                    StandardOpenOption.CREATE, StandardOpenOption.WRITE); FileLock lock = channel.lock()) {
                if (what.remove || what.renamed != null) {
                    change(inZed);
                } else {
                    work.accept(caller.sandbox(what.name, lima.list()));
                }
                return 0;
            }
        });
    }

    private boolean print() {
        return wanted.print;
    }

    /** Takes out what was written for a sandbox, or gives it to its new name; the sandbox itself may be gone. */
    private void change(boolean inZed) {
        String name = !Caller.isPath(wanted.name) ? wanted.name
                : caller.sandbox(wanted.name, lima.list()).path("name").asText();
        boolean changed = inZed ? new Zed(name).change() : new Ssh(name).change();
        if (!print()) {
            caller.say((inZed ? "Zed's settings: " : "ssh: ") + (!changed ? "there is no lima-" + name
                    : wanted.renamed == null ? "lima-" + name + " is taken out"
                            : "lima-" + name + " is lima-" + wanted.renamed));
        }
    }

    /**
     * Writes what an editor needs and starts it.
     *
     * @param address of name and path: the words for its program, the URL last
     * @param before of name and path: what is to be written for it
     */
    private void open(App app, JsonNode is, String dir, BiFunction<String, String, List<String>> address,
            BiConsumer<String, String> before) {
        String name = is.path("name").asText();
        if (!print()) {
            caller.running(is);
        }
        String path = directory(is, dir);
        Optional<String> program = app.program(lima);
        List<String> call = new ArrayList<>(List.of(program.orElse(app.programs.get(0))));
        call.addAll(address.apply(name, path));
        String url = call.get(call.size() - 1);
        if (program.isEmpty() && !print()) {
            caller.out.println(url);
            throw new Lima.Failure(app.title + " was not found on the PATH. To install it: " + app.installation
                    + "\nIf it is elsewhere, it opens the address above; what it needs first is shown by --print");
        }
        before.accept(name, path);
        if (print()) {
            caller.out.println("# to be started\n" + call.stream()
                    .map(w -> w.matches("[A-Za-z0-9/._:+~%@=-]+") ? w : Lima.quote(w))
                    .collect(Collectors.joining(" ")));
            return;
        }
        start(app, call);
        caller.say(app.title + " opens " + path + " in " + name);
    }

    /** USER@HOST:PORT of this boot, which ssh must reach without Lima's own configuration. */
    private String address(String name) {
        Map<String, String> to = resolved(lima.home.resolve(name).resolve("ssh.config"), name);
        Lima.Result r = lima.run(Duration.ofMinutes(1), null, List.of("env", "SSH_AUTH_SOCK=" + caller.env.getOrDefault(
                "SSH_AUTH_SOCK", ""), "ssh", "-F", userConfig().toString(), "-o", "BatchMode=yes", "-o",
                "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-p", to.get("port"),
                to.get("user") + "@" + to.get("hostname"), "true"));
        if (r.code() != 0 && !print()) {
            throw new Lima.Failure(
                    "ssh has no key for " + name + " but in Lima's configuration, which an address leaves"
                            + " out. To give it to your agent: ssh-add " + to.get("identityfile")
                            + "\nThe other ways need no agent: --via settings or --via ssh");
        }
        return encode(to.get("user")) + "@" + to.get("hostname") + ":" + to.get("port");
    }

    /** What ssh makes of {@code lima-NAME} by a configuration. */
    private Map<String, String> resolved(Path config, String name) {
        if (!Files.exists(config)) {
            throw new Lima.Failure(name + " was never started: there is no " + config);
        }
        Lima.Result r = lima.run(Duration.ofMinutes(1), null, List.of("ssh", "-G", "-F", config.toString(), "lima-"
                + name));
        if (r.code() != 0) {
            throw new Lima.Failure("ssh cannot read " + config + ": " + r.err().strip());
        }
        return r.out().lines().map(l -> l.split(" ", 2)).filter(w -> w.length == 2)
                .collect(Collectors.toMap(w -> w[0], w -> w[1], (first, other) -> first));
    }

    private Path userConfig() {
        Path config = userHome.resolve(".ssh/config");
        return Files.exists(config) ? config : Path.of("/dev/null");
    }

    /** The directory to open: as typed, else this one, else the first that the sandbox has mounted. */
    private String directory(JsonNode is, String dir) {
        String name = is.path("name").asText();
        String typed = dir != null ? dir : Caller.isPath(wanted.name) ? wanted.name : "";
        Path path = caller.cwd.resolve(typed.matches("~(/.*)?") ? userHome + typed.substring(1) : typed).normalize();
        Path real = Lima.io(() -> Files.exists(path) ? path.toRealPath() : path);
        Optional<Path> first = Caller.mounts(is).findFirst();
        if (Caller.sees(is, real)) {
            return real.toString();
        }
        if (typed.isEmpty()) {
            return first.orElseThrow(() -> new Lima.Failure(name + " has nothing mounted: say which DIR of it"))
                    .toString();
        }
        if (!Caller.runs(is)
                || lima.ssh(name, Duration.ofMinutes(1), null, "test -d " + Lima.quote(path.toString())).code() != 0) {
            throw new Lima.Failure(name + " does not see " + path + ". To mount it: " + caller.sibling("sandboxes")
                    + " edit " + name + " --mount " + Lima.quote(path.toString()));
        }
        return path.toString();
    }

    /** A path as part of a URL: each byte but letters, digits, - . _ ~ and / as %XX. */
    private static String encode(String path) {
        StringBuilder text = new StringBuilder();
        for (byte b : path.getBytes(UTF_8)) {
            text.append(b > 0 && Character.toString(b).matches("[A-Za-z0-9/._~-]") ? Character.toString(b)
                    : String.format(Locale.ROOT, "%%%02X", b));
        }
        return text.toString();
    }

    /** Starts a program that outlives us and the terminal; one that fails within seconds is told of. */
    private void start(App app, List<String> call) {
        Path log = lima.state("editor").resolve(app.programs.get(0) + ".log");
        List<String> words = new ArrayList<>(List.of("nohup"));
        words.addAll(call);
        Lima.io(() -> {
            ProcessBuilder builder = new ProcessBuilder(words).directory(userHome.toFile())
                    .redirectInput(new File("/dev/null")).redirectErrorStream(true).redirectOutput(log.toFile());
            builder.environment().clear();
            builder.environment().putAll(caller.env);
            Process process = builder.start();
            if (process.waitFor(5, TimeUnit.SECONDS) && process.exitValue() != 0) {
                throw new Lima.Failure(app.title + " ended with exit code " + process.exitValue() + ": "
                        + Lima.reason(Files.readString(log)) + "\nThe address was " + call.get(call.size() - 1));
            }
            return null;
        });
    }

    // -------------------------------------------------------------------------------------------------- ~/.ssh/config

    /**
     * {@code ssh lima-NAME}: the user's configuration includes a file of ours, which includes the instances' own, written
     * by Lima at each start. So no port or key stands anywhere but there.
     */
    final class Ssh {
        private final String name;
        private final UserFile config = new UserFile(userHome.resolve(".ssh/config"));
        private final UserFile ours = new UserFile(lima.state("").resolve("ssh_config"));

        Ssh(String name) {
            this.name = name;
        }

        /**
         * An Include line. A quoted word may have spaces, and is a glob: what ssh's versions read differently (a % is a
         * token since 9.8) or what would need two kinds of escapes is a ?, which stands for that one character too.
         */
        private static String include(Path file) {
            return "Include \"" + file.toString().replaceAll("[\"'\\\\%$*?\\[\\]{}]", "?") + "\"";
        }

        private String line(String instance) {
            return include(lima.home.resolve(instance).resolve("ssh.config"));
        }

        /** Makes it known, and proves it; gives whether it was new. */
        boolean put() {
            List<String> lines = lines();
            if (!lines.contains(line(name))) {
                lines.add(line(name));
            }
            String include = include(ours.path);
            boolean inOurs = ours.change(text -> join(lines), "these are to be its lines", join(lines));
            boolean inTheirs = config.change(
                    text -> text.lines().anyMatch(include::equals) ? text : include + "\n" + text,
                    "this is to be its first line", include);
            boolean added = inOurs || inTheirs;
            Path its = lima.home.resolve(name).resolve("ssh.config");
            if (print() || !Files.exists(its)) {
                return added;
            }
            Map<String, String> now = resolved(userConfig(), name);
            Map<String, String> wanted = resolved(its, name);
            if (!Stream.of("hostname", "port", "user").allMatch(k -> wanted.get(k).equals(now.get(k)))) {
                throw new Lima.Failure("ssh lima-" + name + " would go to " + now.get("user") + "@"
                        + now.get("hostname")
                        + ":" + now.get("port") + ": what stands in " + config.path + " above the line\n" + include
                        + "\nwins over it; put that line first");
            }
            if (added) {
                caller.say("ssh lima-" + name + " works, by " + config.path);
            }
            return added;
        }

        /** Takes the line of this sandbox out, or gives it to its new name; the user's own Include goes with the last one. */
        boolean change() {
            List<String> lines = lines();
            if (!lines.remove(line(name))) {
                return false;
            }
            if (wanted.renamed != null && !lines.contains(line(wanted.renamed))) {
                lines.add(line(wanted.renamed));
            }
            if (lines.isEmpty()) {
                String include = include(ours.path) + "\n";
                config.change(text -> text.startsWith(include) ? text.substring(include.length())
                        : text.replace("\n" + include, "\n"), "this line is to go", include.strip());
            }
            ours.change(text -> join(lines), "these are to be its lines", join(lines));
            return true;
        }

        /** The lines that there are, of instances that there are or that this call is for. */
        private List<String> lines() {
            return ours.read().lines().filter(l -> l.equals(line(name)) || Stream.ofNullable(lima.home.toFile().list())
                    .flatMap(Stream::of).anyMatch(n -> l.equals(line(n)))).collect(Collectors.toList());
        }

        private static String join(List<String> lines) {
            return lines.stream().map(l -> l + "\n").collect(Collectors.joining());
        }
    }

    // -------------------------------------------------------------------------------------------------- Zed's settings

    /**
     * The connection to one sandbox in Zed's settings. What stands there is never changed, only added to. {@code args}
     * has an absolute path, as neither Zed nor ssh's -F knows a ~; Zed finds the entry for {@code ssh://lima-NAME/} by
     * its host, if it has neither user nor port.
     */
    final class Zed {
        private final String name;
        private final UserFile settings;

        Zed(String name) {
            this.name = name;
            String xdg = System.getProperty("os.name").startsWith("Mac") ? ""
                    : caller.env.getOrDefault("XDG_CONFIG_HOME", "");
            settings = new UserFile((xdg.isEmpty() ? userHome.resolve(".config") : Path.of(xdg))
                    .resolve("zed/settings.json"));
        }

        void put(String path, List<String> forwards, boolean running) {
            Map<String, List<String>> entry = new LinkedHashMap<>(); // a list's elements, or one value
            entry.put("host", List.of(quoted("lima-" + name)));
            entry.put("nickname", List.of(quoted(name + " sandbox")));
            entry.put("args",
                    List.of("[\"-F\", " + quoted(lima.home.resolve(name).resolve("ssh.config").toString()) + "]"));
            entry.put("projects", List.of("{ \"paths\": [" + quoted(path) + "] }"));
            if (!forwards.isEmpty()) {
                entry.put("port_forwards", forwards.stream().map(Zed::forward).toList());
            }
            boolean closed = running && closed();
            if (closed) {
                entry.put("upload_binary_over_ssh", List.of("true"));
            }
            String object = entry.keySet().stream().map(k -> "  " + member(k, entry.get(k)))
                    .collect(Collectors.joining(",\n", "{\n", "\n}"));
            if (settings.change(text -> with(text, entry, object), "this belongs into its list \"ssh_connections\"",
                    object) && !print()) {
                caller.say("Zed's settings have lima-" + name
                        + (closed ? "; as it does not reach zed.dev, Zed brings its server over ssh" : ""));
            }
        }

        boolean change() {
            return settings.change(
                    text -> wanted.renamed == null ? without(text, name) : renamed(without(text, wanted.renamed)),
                    "this is to go, or to be renamed, with what is around it", quoted("lima-" + name));
        }

        private static String quoted(String word) {
            return Lima.io(() -> Lima.Json.MAPPER.writeValueAsString(word));
        }

        private static String forward(String ports) {
            Matcher m = Pattern.compile("([0-9]{1,5})(?::([0-9]{1,5}))?").matcher(ports);
            if (!m.matches()) {
                throw new Lima.Failure(2, "--forward takes GUEST or HOST:GUEST, not '" + ports + "'");
            }
            return "{ \"local_port\": " + m.group(1) + ", \"remote_port\": "
                    + Optional.ofNullable(m.group(2)).orElse(m.group(1)) + " }";
        }

        /** Can it not fetch Zed's server by itself? Zed's own download there would only time out. */
        private boolean closed() {
            Lima.Result r = lima.ssh(name, Duration.ofMinutes(1), null, "curl -sI -m 5 -o /dev/null https://zed.dev");
            if (r.code() == 255) {
                throw new Lima.Failure("no connection to " + name + ": " + r.err().strip());
            }
            return r.code() != 0;
        }

        private static boolean isList(String key) {
            return key.equals("projects") || key.equals("port_forwards");
        }

        private static String member(String key, List<String> values) {
            String text = String.join(", ", values);
            return quoted(key) + ": " + (isList(key) ? "[" + text + "]" : text);
        }

        private String with(String before, Map<String, List<String>> entry, String object) {
            String list = "\"ssh_connections\": [\n  " + object.replace("\n", "\n  ") + "\n]";
            if (before.isBlank()) {
                return "{\n  " + list.replace("\n", "\n  ") + "\n}\n";
            }
            Jsonc all = new Jsonc(before);
            Jsonc.Node connections = all.root.get("ssh_connections");
            if (connections != null && mine(connections, name) != null) {
                return added(before, entry);
            }
            String after = connections == null ? all.put(all.root, list) : all.put(connections, object);
            if (!without(after, name).equals(before)) {
                throw new Lima.Failure("what would be put in could not be taken out again");
            }
            return after;
        }

        /** What the entry that is there lacks. */
        private String added(String before, Map<String, List<String>> entry) {
            String text = before;
            for (var member : entry.entrySet()) {
                for (String value : member.getValue()) {
                    Jsonc all = new Jsonc(text);
                    Jsonc.Node mine = mine(all.root.get("ssh_connections"), name);
                    Jsonc.Node there = mine.get(member.getKey());
                    if (there == null) {
                        text = all.put(mine, member(member.getKey(), List.of(value)));
                    } else if (isList(member.getKey())
                            && there.children.stream().noneMatch(c -> all.tree(c).equals(Jsonc.tree(value)))) {
                        text = all.put(there, value);
                    }
                }
            }
            return text;
        }

        private String without(String before, String host) {
            if (before.isBlank()) {
                return before;
            }
            Jsonc all = new Jsonc(before);
            Jsonc.Node connections = all.root.get("ssh_connections");
            Jsonc.Node mine = connections == null ? null : mine(connections, host);
            if (mine == null) {
                return before;
            }
            String head = before.substring(connections.open + 1, mine.start);
            String rest = before.substring(Math.max(mine.end, mine.comma + 1), connections.end - 1);
            boolean ours = head.isBlank() && head.contains("\n") && rest.isBlank(); // a list made as ours are, now empty
            String after = ours ? all.take(all.root, connections) : all.take(connections, mine);
            return after.equals("{\n}\n") ? "" : after;
        }

        private String renamed(String before) {
            Jsonc all = new Jsonc(before.isBlank() ? "{}" : before);
            Jsonc.Node connections = all.root.get("ssh_connections");
            Jsonc.Node mine = connections == null ? null : mine(connections, name);
            return mine == null ? before : before.substring(0, mine.start) + before.substring(mine.start, mine.end)
                    .replace("\"lima-" + name + "\"", "\"lima-" + wanted.renamed + "\"")
                    .replace("/" + name + "/ssh.config\"", "/" + wanted.renamed + "/ssh.config\"")
                    .replace("\"" + name + " sandbox\"", "\"" + wanted.renamed + " sandbox\"")
                    + before.substring(mine.end);
        }

        private static Jsonc.Node mine(Jsonc.Node connections, String name) {
            return connections.children.stream().filter(c -> c.get("host") != null && c.get("port") == null
                    && c.get("username") == null && ("lima-" + name).equals(c.get("host").text)).findFirst()
                    .orElse(null);
        }
    }

    /** JSON with comments and trailing commas, whose text is added to and taken from: no other byte of it changes. */
    static final class Jsonc {
        private static final JsonMapper LENIENT = JsonMapper.builder().enable(JsonReadFeature.ALLOW_JAVA_COMMENTS,
                JsonReadFeature.ALLOW_TRAILING_COMMA).enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).build();
        private static final Pattern SPACE = Pattern.compile("\\s+|//[^\\n]*|/\\*(?s:.*?)\\*/");
        private static final Pattern COMMENT_BESIDE = Pattern.compile("[ \\t]*(?://[^\\n]*|/\\*[^\\n]*?\\*/)");

        /** A value; in an object with its key. Places in the text: of the key or value, the value, its end, its comma. */
        static final class Node {
            String key;
            String text;
            int start;
            int open;
            int end;
            int comma = -1;
            final List<Node> children = new ArrayList<>();

            Node get(String name) {
                return children.stream().filter(c -> name.equals(c.key)).reduce((a, b) -> b).orElse(null);
            }
        }

        private final String text;
        final Node root;

        /** Reads a text; what cannot be read is a failure that names the line. */
        Jsonc(String text) {
            this.text = text;
            try (JsonParser parser = LENIENT.createParser(text)) {
                parser.nextToken();
                root = node(parser);
                if (parser.nextToken() != null || text.charAt(root.open) != '{') {
                    throw new Lima.Failure("it is not one object in { }");
                }
                Node list = root.get("ssh_connections");
                if (list != null && text.charAt(list.open) != '[') {
                    throw new Lima.Failure("its \"ssh_connections\" is not a list in [ ]");
                }
            } catch (JsonProcessingException e) {
                throw new Lima.Failure("line " + (e.getLocation() == null ? "?" : e.getLocation().getLineNr())
                        + " cannot be read: " + e.getOriginalMessage());
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        private Node node(JsonParser parser) throws IOException {
            Node node = new Node();
            if (parser.currentToken() == null) {
                throw new Lima.Failure("it is not one object in { }");
            }
            node.start = node.open = (int) parser.currentTokenLocation().getCharOffset();
            node.text = parser.getText();
            if (parser.currentToken().isStructStart()) {
                while (!parser.nextToken().isStructEnd()) {
                    int start = (int) parser.currentTokenLocation().getCharOffset();
                    String key = parser.currentToken() == JsonToken.FIELD_NAME ? parser.currentName() : null;
                    if (key != null) {
                        parser.nextToken();
                    }
                    Node child = node(parser);
                    child.key = key;
                    child.start = start;
                    node.children.add(child);
                }
            }
            node.end = (int) parser.currentLocation().getCharOffset();
            int after = node.end;
            for (Matcher m = SPACE.matcher(text); m.region(after, text.length()).lookingAt();) {
                after = m.end();
            }
            node.comma = after < text.length() && text.charAt(after) == ',' ? after : -1;
            return node;
        }

        JsonNode tree(Node node) {
            return tree(text.substring(node.open, node.end));
        }

        static JsonNode tree(String json) {
            return Lima.io(() -> LENIENT.readTree(json));
        }

        /** The text with one more element, or member, at the end of a value. */
        String put(Node in, String item) {
            if (in.children.isEmpty()) {
                return text.substring(0, in.open + 1) + item.replace("\n", "\n" + indent(in.open))
                        + text.substring(in.open + 1);
            }
            Node last = in.children.get(in.children.size() - 1);
            int end = Math.max(last.end, last.comma + 1);
            Matcher beside = COMMENT_BESIDE.matcher(text).region(end, text.length());
            int at = beside.lookingAt() ? beside.end() : end;
            boolean ownLine = at > end || text.substring(space(last.start), last.start).contains("\n");
            return text.substring(0, end) + (last.comma < 0 ? "," : "") + text.substring(end, at)
                    + (ownLine ? "\n" + indent(last.start) : " ") + item.replace("\n", "\n" + indent(last.start))
                    + (last.comma < 0 ? "" : ",") + text.substring(at);
        }

        /** The text without an element or member; the inverse of {@link #put}. */
        String take(Node in, Node child) {
            int i = in.children.indexOf(child);
            StringBuilder left = new StringBuilder(text);
            left.delete(space(child.start), Math.max(child.end, child.comma + 1));
            if (child.comma < 0 && i > 0) {
                left.deleteCharAt(in.children.get(i - 1).comma);
            }
            JsonNode tree = tree(root);
            String key = in == root ? child.key : in.key;
            if (in == root) {
                ((ObjectNode) tree).remove(key);
            } else {
                ((ArrayNode) tree.get(key)).remove(i);
            }
            if (!tree.equals(tree(left.toString()))) {
                throw new Lima.Failure("taking it out would change more than that");
            }
            return left.toString();
        }

        /** Where the white space before a place begins. */
        private int space(int place) {
            int at = place;
            while (at > 0 && Character.isWhitespace(text.charAt(at - 1))) {
                at--;
            }
            return at;
        }

        private String indent(int place) {
            int line = text.lastIndexOf('\n', place - 1) + 1;
            return text.substring(line).replaceFirst("(?s)^([ \\t]*).*", "$1");
        }
    }

    /** A file of the user's own: changed at once or not at all, through links, its mode kept; shown only with --print. */
    final class UserFile {
        final Path path;

        UserFile(Path path) {
            this.path = path;
        }

        String read() {
            return Lima.io(() -> Files.exists(path) ? Files.readString(path) : "");
        }

        /**
         * Replaces the text by what EDIT makes of it; the text before stays beside it as FILE.before-sandbox.
         *
         * @param byHand what the user may do instead when it fails, with the text that is then printed
         * @return whether there was anything to change
         */
        boolean change(UnaryOperator<String> edit, String byHand, String text) {
            try {
                String before = read();
                String after = edit.apply(before);
                if (print()) {
                    show(before.lines().toList(), after.lines().toList());
                } else if (!after.equals(before)) {
                    replace(before, after);
                }
                return !after.equals(before);
            } catch (Lima.Failure failure) {
                caller.out.println(text);
                throw new Lima.Failure(path + " stays as it is: " + failure.getMessage() + "\nBy hand: " + byHand
                        + ", see above");
            }
        }

        private void show(List<String> before, List<String> after) {
            int head = 0;
            while (head < Math.min(before.size(), after.size()) && before.get(head).equals(after.get(head))) {
                head++;
            }
            int tail = 0;
            while (tail < Math.min(before.size(), after.size()) - head
                    && before.get(before.size() - 1 - tail).equals(after.get(after.size() - 1 - tail))) {
                tail++;
            }
            caller.out.println("# " + path + (before.equals(after) ? " stays as it is" : ""));
            before.subList(head, before.size() - tail).forEach(l -> caller.out.println("- " + l));
            after.subList(head, after.size() - tail).forEach(l -> caller.out.println("+ " + l));
        }

        private void replace(String before, String after) {
            Lima.io(() -> {
                Files.createDirectories(path.getParent(),
                        PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
                boolean there = Files.exists(path, LinkOption.NOFOLLOW_LINKS);
                Path real = there ? path.toRealPath() : path;
                Path next = real.resolveSibling("." + real.getFileName() + ".sandbox");
                try {
                    Files.deleteIfExists(next);
                    Files.createFile(next,
                            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
                    Files.writeString(next, after, StandardOpenOption.SYNC);
                    if (there) {
                        Files.setPosixFilePermissions(next, Files.getPosixFilePermissions(real));
                    }
                    if (there && !path.startsWith(lima.home)) {
                        Files.copy(real, path.resolveSibling(path.getFileName() + ".before-sandbox"),
                                StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.COPY_ATTRIBUTES);
                    }
                    if (!read().equals(before)) {
                        throw new Lima.Failure("something else changed it just now; the same command again");
                    }
                    if (after.isEmpty() && real.equals(path)) {
                        Files.delete(path);
                    } else {
                        Files.move(next, real, StandardCopyOption.ATOMIC_MOVE);
                    }
                } finally {
                    Files.deleteIfExists(next);
                }
                return null;
            });
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
