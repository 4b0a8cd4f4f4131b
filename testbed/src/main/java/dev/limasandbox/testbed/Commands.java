package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** The subcommands, each named as limactl's. */
final class Commands {
    /** Another one can be pretended; of what that one does otherwise, only the list is (seen on 2.0.3 and 2.1.4). */
    static final String VERSION = System.getenv().getOrDefault("LIMA_STAND_IN_VERSION", "2.2.0");
    private static final String NAME_HINT = " (Hint: use `limactl unprotect`)";

    private Commands() {}

    // --- list ---

    static void list(List<String> words) {
        Flags flags = Flags.common()
                .value("format", 'f')
                .bool("json")
                .bool("quiet", "q")
                .parse(words);
        Faults.at("list");
        if (flags.is("json") && flags.has("format")) {
            throw new Fatal("option --json conflicts with option --format");
        }
        String format = flags.is("json") ? "json" : flags.has("format") ? flags.get("format") : "table";
        if (flags.is("quiet") && !format.equals("table")) {
            throw new Fatal("option --quiet can only be used with '--format table'");
        }
        List<String> all = Home.instances();
        List<String> wanted = new ArrayList<>();
        boolean unmatched = false;
        for (String name : flags.arguments()) {
            if (all.contains(name)) {
                wanted.add(name);
            } else {
                Log.warn("No instance matching " + name + " found.");
                unmatched = true;
            }
        }
        List<String> names = flags.arguments().isEmpty() ? all : wanted;
        if (all.isEmpty() && flags.arguments().isEmpty()) {
            Log.warn("No instance found. Run `limactl create` to create an instance.");
        }
        warnAboutHalfMade(all);
        if (flags.is("quiet")) {
            names.forEach(System.out::println);
        } else {
            refuseHalfMade(names);
            print(names, format);
        }
        if (unmatched) {
            throw new Fatal("unmatched instances");
        }
    }

    /** Before 2.2 one directory without a lima.yaml spoils the list. */
    private static void refuseHalfMade(List<String> names) {
        for (String name : VERSION.matches("2[.][01][.].*") ? names : List.<String>of()) {
            Path yaml = Instance.named(name).yaml();
            if (!Files.exists(yaml)) {
                throw new Fatal("unable to load instance " + name + ": open " + yaml + ": no such file or directory");
            }
        }
    }

    private static void warnAboutHalfMade(List<String> names) {
        for (String name : names) {
            Path yaml = Instance.named(name).yaml();
            if (!Files.exists(yaml)) {
                Log.warn("The directory `" + Home.directory() + "` does not look like a valid Lima directory: stat "
                        + yaml + ": no such file or directory");
            }
        }
    }

    private static void print(List<String> names, String format) {
        List<Map<String, Object>> rows = new ArrayList<>();
        for (String name : names) {
            Instance instance = Instance.named(name);
            Map<String, Object> fields = instance.fields();
            if (!Files.exists(instance.yaml())) {
                warnAboutErrors(name, "open " + instance.yaml() + ": no such file or directory");
                fields.put(
                        "errors",
                        List.of(Map.of("Op", "open", "Path", instance.yaml().toString(), "Err", 2)));
            } else if (!instance.state().errors().isEmpty()) {
                warnAboutErrors(name, String.join(" ", instance.state().errors()));
            }
            rows.add(fields);
        }
        if (format.equals("table")) {
            table(rows);
            return;
        }
        for (Map<String, Object> fields : rows) {
            if (format.equals("json")) {
                String line = Json.write(Instance.shown(fields));
                if (line.length() > 64 * 1024) {
                    throw new Fatal("bufio.Scanner: token too long");
                }
                System.out.println(line);
            } else {
                System.out.println(formatted(format, fields));
            }
        }
    }

    private static void warnAboutErrors(String name, String errors) {
        Log.warn("instance `" + name + "` has errors", Map.of("errors", "[" + errors + "]"));
    }

    private static String formatted(String format, Map<String, Object> fields) {
        String all = Json.write(Instance.shown(fields));
        try {
            // Quoted by the template's own means, so that braces in the values stay.
            return Stream.of(format.split(Pattern.quote("{{json .}}"), -1))
                    .map(part -> GoTemplate.expand(part, fields))
                    .reduce((left, right) -> left + all + right)
                    .orElse("");
        } catch (IllegalArgumentException e) {
            throw new Fatal("template: format:1: executing \"format\": " + e.getMessage());
        }
    }

    private static void table(List<Map<String, Object>> rows) {
        List<List<String>> lines = new ArrayList<>();
        lines.add(List.of("NAME", "STATUS", "SSH", "VMTYPE", "ARCH", "CPUS", "MEMORY", "DISK", "DIR"));
        for (Map<String, Object> row : rows) {
            lines.add(List.of(
                    text(row, "name"),
                    text(row, "status"),
                    text(row, "sshAddress") + ":" + Maps.number(row, "sshLocalPort", 0),
                    text(row, "vmType"),
                    text(row, "arch"),
                    String.valueOf(Maps.number(row, "cpus", 0)),
                    Size.show(bytes(row, "memory")),
                    Size.show(bytes(row, "disk")),
                    text(row, "dir")));
        }
        int columns = lines.get(0).size();
        for (List<String> line : lines) {
            StringBuilder out = new StringBuilder();
            for (int i = 0; i < columns - 1; i++) {
                int column = i;
                int width = lines.stream()
                        .mapToInt(l -> l.get(column).length())
                        .max()
                        .orElse(0)
                        + 4;
                out.append(String.format("%-" + width + "s", line.get(i)));
            }
            System.out.println(out + line.get(columns - 1));
        }
    }

    private static String text(Map<String, Object> row, String key) {
        return Maps.text(row, key, "");
    }

    private static long bytes(Map<String, Object> row, String key) {
        return row.get(key) instanceof Number number ? number.longValue() : 0;
    }

    // --- create, start ---

    static void create(List<String> words) {
        Flags flags = createFlags().parse(words);
        if (flags.arguments().size() > 1) {
            throw new Fatal(
                    "accepts at most 1 arg(s), received " + flags.arguments().size());
        }
        String locator = flags.arguments().isEmpty() ? "default" : flags.arguments().get(0);
        if (Home.isName(locator) && Instance.named(locator).exists() && !flags.has("name")) {
            throw new Fatal("instance `" + locator + "` already exists");
        }
        Instance instance = create(locator, flags);
        Log.info("Run `limactl start " + instance.name + "` to start the instance.");
    }

    private static Flags createFlags() {
        return EditFlags.declare(Flags.common()).value("name", "arch", "containerd");
    }

    private static Instance create(String locator, Flags flags) {
        String name = flags.get("name");
        Template template;
        if (locator.equals("-")) {
            if (name == null) {
                throw new Fatal("must pass instance name with --name when reading template from stdin");
            }
            template = Template.load(locator);
        } else if (Home.isName(locator)) {
            if (name != null && !name.equals(locator)) {
                throw new Fatal("instance name `" + locator + "` and CLI flag --name=`" + name
                        + "` cannot be specified together");
            }
            name = locator;
            if (!name.equals("default")) {
                Log.info("Creating an instance `" + name + "` from template:default (Not from template:" + name + ")");
                Log.warn("This form is deprecated. Use `limactl create --name=" + name + " template:default` instead");
            }
            template = Template.load("template:default");
        } else {
            if (name != null) {
                Home.checkName(name);
            }
            template = Template.load(locator);
            name = name != null
                    ? name
                    : locator.replaceFirst("^.*[:/]", "")
                            .replaceFirst("\\.ya?ml$", "")
                            .toLowerCase(Locale.ROOT);
        }
        Home.checkName(name);
        Instance instance = Instance.named(name);
        if (instance.exists() && Files.exists(instance.yaml())) {
            throw new Fatal("instance `" + name + "` already exists");
        }
        if (!flags.is("tty")) {
            Log.info("Terminal is not available, proceeding without opening an editor");
        }
        Home.checkSocketPath(instance.directory);
        String yaml = withCreateFlags(EditFlags.apply(template.embeddedText(), flags), flags);
        make(instance, yaml);
        return instance;
    }

    private static String withCreateFlags(String yaml, Flags flags) {
        if (!flags.has("containerd") && !flags.has("arch")) {
            return yaml;
        }
        var root = Yaml.parse(yaml);
        if (flags.has("containerd")) {
            String which = flags.get("containerd");
            Yaml.set(root, List.of("containerd", "user"), Yaml.node(which.startsWith("user")));
            Yaml.set(root, List.of("containerd", "system"), Yaml.node(which.endsWith("system")));
        }
        if (flags.has("arch")) {
            Yaml.set(root, List.of("arch"), Yaml.node(flags.get("arch")));
        }
        return Yaml.print(root);
    }

    /** Nothing is left of an instance whose YAML was refused; one whose image could not be had stays, as Stopped. */
    private static void make(Instance instance, String yaml) {
        Config config = Config.load(instance.directory, yaml);
        config.validate(yaml);
        if (instance.exists()) {
            throw new Fatal("instance `" + instance.name + "` already exists (`" + instance.directory + "`)");
        }
        Home.makeIdentity();
        try {
            Files.createDirectory(instance.directory, PosixFilePermissions.asFileAttribute(Sh.MODE_700));
        } catch (IOException e) {
            throw new Fatal("instance `" + instance.name + "` already exists (`" + instance.directory + "`)");
        }
        // What an instance of that name left behind that was removed by hand.
        Sh.remove(Guest.stateOf(instance.name));
        Sh.write(instance.yaml(), yaml, "rw-r--r--");
        Sh.write(instance.file("lima-version"), "v" + VERSION, "r--r--r--");
        Sh.write(instance.file("cloud-config.yaml"), "#cloud-config\n", "r--r--r--");
        Faults.at("create", () -> Faults.partialImage(instance));
        Disk.make(instance, config);
    }

    /** An unknown name is created from template:default, which mounts the home directory: no error on Lima either. */
    static void start(List<String> words) {
        Flags flags = createFlags().value("timeout").bool("progress").parse(words);
        String locator = flags.arguments().isEmpty() ? "default" : flags.arguments().get(0);
        Instance instance;
        if (Home.isName(locator) && Files.exists(Instance.named(locator).yaml())) {
            instance = Instance.existing(locator);
            Log.info("Using the existing instance `" + instance.name + "`");
            if (EditFlags.any(flags)) {
                rewrite(instance, EditFlags.apply(Sh.read(instance.yaml()), flags), instance.config().bytes("disk"));
            }
        } else {
            instance = create(locator, flags);
        }
        warnAboutOthers();
        Duration timeout = flags.has("timeout") ? duration(flags.get("timeout")) : Start.TIMEOUT;
        Start.start(instance, timeout, flags.is("progress"));
    }

    /** The networks of all instances are looked through, so everybody's warnings are shown. */
    private static void warnAboutOthers() {
        for (String name : Home.instances()) {
            Instance other = Instance.named(name);
            if (!Files.exists(other.yaml())) {
                Log.warn("Skipping instance `" + name + "` during network reconcile: open " + other.yaml()
                        + ": no such file or directory");
            } else {
                other.config();
            }
        }
    }

    private static Duration duration(String text) {
        Matcher part = Pattern.compile("([0-9.]+)(h|ms|m|s)").matcher(text);
        long milliseconds = 0;
        boolean any = false;
        while (part.find()) {
            any = true;
            double unit = switch (part.group(2)) {
                case "h" -> 3_600_000;
                case "m" -> 60_000;
                case "s" -> 1000;
                default -> 1;
            };
            milliseconds += (long) (Double.parseDouble(part.group(1)) * unit);
        }
        if (!any) {
            throw new Fatal("invalid argument \"" + text + "\" for \"--timeout\" flag: time: invalid duration \"" + text
                    + "\"");
        }
        return Duration.ofMillis(milliseconds);
    }

    static void hostagent(List<String> words) {
        Flags flags = Flags.common().bool("progress").parse(words);
        new HostAgent(Instance.existing(flags.onlyArgument()), flags.is("progress")).run();
    }

    // --- stop, restart, delete, factory-reset, protect ---

    static void stop(List<String> words) {
        Flags flags = Flags.common().bool("force", "f").parse(words);
        Instance instance = Instance.existing(flags.arguments().isEmpty() ? "default" : flags.onlyArgument());
        if (flags.is("force")) {
            Start.stopForcibly(instance);
        } else {
            Start.stop(instance);
        }
        warnAboutOthers();
    }

    static void restart(List<String> words) {
        Flags flags = EditFlags.declare(Flags.common())
                .bool("force", "f")
                .bool("progress")
                .parse(words);
        Instance instance = Instance.existing(flags.arguments().isEmpty() ? "default" : flags.onlyArgument());
        String yaml = EditFlags.apply(Sh.read(instance.yaml()), flags);
        if (flags.is("force")) {
            Start.stopForcibly(instance);
        } else if (instance.status().equals("Running")) {
            Start.stop(instance);
        } else {
            Log.warn("expected status `Running`, got `" + instance.status() + "`");
        }
        if (EditFlags.any(flags)) {
            rewrite(instance, yaml, instance.config().bytes("disk"));
        }
        Start.start(instance, Start.TIMEOUT, flags.is("progress"));
    }

    static void delete(List<String> words) {
        Flags flags = Flags.common().bool("force", "f").parse(words);
        if (flags.arguments().isEmpty()) {
            throw new Fatal("requires at least 1 arg(s), only received 0");
        }
        for (String name : flags.arguments()) {
            Home.checkName(name);
            Instance instance = Instance.named(name);
            if (!instance.exists()) {
                Log.warn("Ignoring non-existent instance `" + name + "`");
                continue;
            }
            if (!Files.exists(instance.yaml())) {
                warnAboutOthers();
                throw new Fatal("instance `" + name + "` directory `" + instance.directory
                        + "` exists but its `lima.yaml` could not be read; it was NOT deleted, in case it is currently being"
                        + " cloned into. If no `limactl` operation is using it, remove it manually");
            }
            String failure = "failed to delete instance `" + name + "`: ";
            if (instance.isProtected()) {
                throw new Fatal(failure + "instance is protected to prohibit accidental removal" + NAME_HINT);
            }
            if (!flags.is("force")) {
                instance.requireStatus("Stopped", failure, "");
            }
            Start.stopForcibly(instance);
            Faults.at("delete", () -> Faults.withoutYaml(instance));
            Sh.remove(instance.directory);
            Sh.remove(Guest.stateOf(name));
            Log.info("Deleted `" + name + "` (`" + instance.directory + "`)");
        }
        warnAboutOthers();
    }

    /** Keeps lima-version, protected, vz-identifier, every *.yaml, and directories that are not empty. */
    static void factoryReset(List<String> words) {
        Flags flags = Flags.common().parse(words);
        String name = flags.arguments().isEmpty() ? "default" : flags.onlyArgument();
        Home.checkName(name);
        Instance instance = Instance.named(name);
        if (!Files.exists(instance.yaml())) {
            Log.info("Instance `" + name + "` not found");
            return;
        }
        if (instance.isProtected()) {
            throw new Fatal("instance is protected to prohibit accidental factory-reset" + NAME_HINT);
        }
        Start.stopForcibly(instance);
        for (Path file : entries(instance.directory)) {
            String base = file.getFileName().toString();
            if (List.of("lima-version", "protected", "vz-identifier").contains(base) || base.matches(".*\\.ya?ml")) {
                continue;
            }
            Log.info("Removing `" + file + "`");
            try {
                Files.delete(file);
            } catch (IOException e) {
                Log.error("remove " + file + ": directory not empty");
            }
        }
        Sh.remove(Guest.stateOf(name));
        Log.info("Instance `" + name + "` has been factory reset");
    }

    static void protect(List<String> words, boolean on) {
        Flags flags = Flags.common().parse(words);
        for (String name : flags.arguments()) {
            Home.checkName(name);
            Instance instance = Instance.named(name);
            if (!Files.exists(instance.yaml())) {
                throw new Fatal("failed to inspect instance `" + name + "`: open " + instance.yaml()
                        + ": no such file or directory");
            }
            if (instance.isProtected() == on) {
                Log.warn("Instance `" + name + "` " + (on ? "is already" : "isn't") + " protected. Skipping.");
            } else if (on) {
                Sh.write(instance.file("protected"), "", "r--------");
                Log.info("Protected `" + name + "`");
            } else {
                Sh.remove(instance.file("protected"));
                Log.info("Unprotected `" + name + "`");
            }
        }
    }

    // --- edit, clone, rename ---

    static void edit(List<String> words) {
        Flags flags = EditFlags.declare(Flags.common()).bool("start").parse(words);
        String name = flags.arguments().isEmpty() ? "default" : flags.onlyArgument();
        if (name.matches(".*\\.ya?ml")) {
            editFile(Path.of(name).toAbsolutePath(), flags);
            return;
        }
        Home.checkName(name);
        Instance instance = Instance.named(name);
        if (!Files.exists(instance.yaml())) {
            throw new Fatal("instance `" + name + "` not found");
        }
        if (instance.status().equals("Running")) {
            throw new Fatal("cannot edit a running instance");
        }
        String before = Sh.read(instance.yaml());
        if (!EditFlags.any(flags)) {
            Log.info("Aborting, as requested by saving the file with empty content");
            return;
        }
        String after = EditFlags.apply(before, flags);
        if (Yaml.readMap(after).equals(Yaml.readMap(before))) {
            Log.info("Aborting, no changes made to the instance");
            return;
        }
        rewrite(instance, after, instance.config().bytes("disk"));
        Log.info("Instance `" + name + "` configuration edited");
        if (flags.is("start")) {
            Start.start(instance, Start.TIMEOUT, false);
        }
    }

    /** A name that ends like a YAML file is one (edit.go); it is checked as a template is, and written in place. */
    private static void editFile(Path file, Flags flags) {
        String before = Sh.read(file);
        String after = EditFlags.apply(before, flags);
        if (Yaml.readMap(after).equals(Yaml.readMap(before))) {
            Log.info("Aborting, no changes made to the instance");
            return;
        }
        Config.load(file.getParent(), after).validate(after);
        Sh.write(file, after, "rw-r--r--");
        Log.info("Template `" + file + "` edited");
    }

    /** A refused text is left in the working directory as lima.REJECTED.yaml. */
    private static void rewrite(Instance instance, String yaml, long diskBefore) {
        try {
            Config config = Config.load(instance.directory, yaml);
            config.validate(yaml);
            long disk = config.bytes("disk");
            if (disk < diskBefore) {
                throw new Fatal("field `disk`: shrinking the disk (" + Size.show(diskBefore) + " --> " + Size.show(disk)
                        + ") is not supported");
            }
        } catch (Fatal e) {
            Sh.write(Path.of("lima.REJECTED.yaml").toAbsolutePath(), yaml, "rw-r--r--");
            throw new Fatal("the YAML is invalid, saved the buffer as `lima.REJECTED.yaml`: " + e.getMessage());
        }
        Sh.write(instance.yaml(), yaml, "rw-r--r--");
    }

    static void copyInstance(List<String> words, boolean rename) {
        Flags flags = EditFlags.declare(Flags.common()).bool("start").parse(words);
        String command = rename ? "rename" : "clone";
        if (flags.arguments().size() != 2) {
            throw new Fatal("`limactl " + command + "` accepts 2 arg(s), received "
                    + flags.arguments().size());
        }
        Instance source = Instance.named(flags.arguments().get(0));
        Home.checkName(flags.arguments().get(0));
        if (!Files.exists(source.yaml())) {
            throw new Fatal("instance `" + source.name + "` not found");
        }
        Home.checkName(flags.arguments().get(1));
        Instance target = Instance.named(flags.arguments().get(1));
        if (target.exists()) {
            throw new Fatal("instance `" + target.name + "` already exists");
        }
        if (source.status().equals("Running")) {
            throw new Fatal("cannot " + command + " a running instance");
        }
        Home.checkSocketPath(target.directory);
        new DiskFiles(source).settle(false);
        copyFiles(source, target, command);
        Sh.remove(Guest.stateOf(target.name));
        for (String part : List.of("disk", "snapshots")) { // a clone's disk keeps its snapshots
            Path state = Guest.stateOf(source.name).resolve(part);
            if (Files.exists(state)) {
                Sh.copyTree(state, Guest.stateOf(target.name).resolve(part));
            }
        }
        if (rename) {
            Sh.remove(source.directory);
            Sh.remove(Guest.stateOf(source.name));
        }
        if (EditFlags.any(flags)) {
            rewrite(target, EditFlags.apply(Sh.read(target.yaml()), flags), target.config().bytes("disk"));
        }
        if (flags.is("start")) {
            Start.start(target, Start.TIMEOUT, false);
        }
    }

    /**
     * In the order of names, so that a target has no lima.yaml while its disk is copied. A sub-directory is made with
     * mode 0000 (seen on 2.2.0), so that a file in it makes the copy fail half-way, and nothing is cleaned up then.
     */
    private static void copyFiles(Instance source, Instance target, String command) {
        try {
            Files.createDirectory(target.directory, PosixFilePermissions.asFileAttribute(Sh.MODE_700));
            copyFiles(source.directory, target.directory, command);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void copyFiles(Path from, Path to, String command) throws IOException {
        for (Path file : entries(from)) {
            String base = file.getFileName().toString();
            if (base.equals("disk")) {
                Faults.at(command);
            }
            Path copy = to.resolve(base);
            if (base.equals("protected") || base.matches(".*\\.(pid|sock|tmp)")) {
                continue;
            }
            if (Files.isDirectory(file, LinkOption.NOFOLLOW_LINKS)) {
                Files.createDirectory(copy);
                Files.setPosixFilePermissions(copy, PosixFilePermissions.fromString("---------"));
                if (!Files.isReadable(file)) {
                    throw new Fatal("open " + file + ": permission denied");
                }
                List<Path> inner = entries(file);
                if (!inner.isEmpty()) {
                    Path first = copy.resolve(inner.get(0).getFileName());
                    throw new Fatal("failed to open target " + first + ": open " + first + ": permission denied");
                }
            } else if (base.equals("vz-identifier")) {
                Files.createFile(copy);
            } else if (Files.isRegularFile(file)) {
                Sh.copyTree(file, copy);
                Files.setPosixFilePermissions(copy, PosixFilePermissions.fromString("rw-r--r--"));
            }
        }
    }

    private static List<Path> entries(Path directory) {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.sorted().toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    // --- snapshot ---

    /** Internal snapshots of the disk by qemu-img, and beside them the guest's files, which are not on that disk. */
    static void snapshot(List<String> words) {
        String verb = words.isEmpty() ? "" : words.get(0);
        if (!List.of("create", "apply", "delete", "list", "ls").contains(verb)) {
            throw new Fatal("unknown command \"" + verb + "\" for \"limactl snapshot\"");
        }
        Flags flags = Flags.common().value("tag").bool("quiet", "q").parse(words.subList(1, words.size()));
        Log.warn("`limactl snapshot` is experimental");
        Instance instance = Instance.existing(flags.onlyArgument());
        String tag = flags.get("tag");
        boolean list = verb.startsWith("l");
        if (!list && (tag == null || tag.isEmpty())) {
            throw new Fatal("expected tag");
        }
        if (!instance.config().text("vmType").equals("qemu")) {
            throw new Fatal("unimplemented");
        }
        Faults.at("snapshot");
        if (instance.status().equals("Running")) {
            Snapshots.ofRunning(instance, verb);
            return;
        }
        new DiskFiles(instance).settle(false);
        Snapshots snapshots = new Snapshots(instance);
        switch (verb) {
            case "create" -> snapshots.create(tag);
            case "apply" -> snapshots.apply(tag);
            case "delete" -> snapshots.delete(tag);
            default -> snapshots.list(flags.is("quiet"));
        }
    }

    // --- shell, copy ---

    static void shell(List<String> words) {
        Flags flags = Flags.common()
                .value("workdir", "shell")
                .bool("start")
                .upToFirstArgument()
                .parse(words);
        List<String> arguments = new ArrayList<>(flags.arguments());
        if (arguments.isEmpty()) {
            throw new Fatal("requires at least 1 arg(s), only received 0");
        }
        String name = arguments.remove(0);
        Instance instance = Instance.named(name);
        if (!Files.exists(instance.yaml())) {
            throw new Fatal("instance `" + name + "` does not exist, run `limactl create " + name
                    + "` to create a new instance");
        }
        if (instance.status().equals("Stopped")) {
            if (!flags.is("start")) {
                throw new Fatal(
                        "instance `" + name + "` is stopped, run `limactl start " + name + "` to start the instance");
            }
            Start.start(instance, Start.TIMEOUT, false);
        }
        if (!arguments.isEmpty() && arguments.get(0).equals("--")) {
            arguments.remove(0);
        }
        String shell = flags.has("shell")
                ? Sh.quote(flags.get("shell"))
                : instance.config().user().get("shell").toString();
        StringBuilder script = new StringBuilder();
        if (flags.has("workdir")) {
            script.append("cd " + Sh.quote(flags.get("workdir")) + " || exit 1 ; ");
        }
        script.append("exec " + shell + " -l");
        if (!arguments.isEmpty()) {
            script.append(" -c " + Sh.quote(quoted(arguments)));
        }
        List<String> ssh = new ArrayList<>(
                List.of("ssh", "-F", instance.file("ssh.config").toString(), "-o", "LogLevel=ERROR"));
        if ("true".equals(System.getProperty("standin.stdout.terminal"))) {
            ssh.add("-t");
        }
        ssh.addAll(List.of(Instance.hostname(name), "--", script.toString()));
        System.exit(Sh.pass(ssh));
    }

    /** Leading words with an equals sign are variables for Lima, the name unquoted: a command can hide in it. */
    private static String quoted(List<String> arguments) {
        List<String> words = new ArrayList<>();
        boolean leading = true;
        for (String argument : arguments) {
            int equals = argument.indexOf('=');
            leading &= equals >= 0;
            words.add(
                    leading
                            ? argument.substring(0, equals + 1) + Sh.quote(argument.substring(equals + 1))
                            : Sh.quote(argument));
        }
        return String.join(" ", words);
    }

    static void copy(List<String> words) {
        Flags flags = Flags.common()
                .bool("recursive", "r")
                .bool("verbose", "v")
                .value("backend")
                .parse(words);
        if (flags.arguments().size() < 2) {
            throw new Fatal("requires at least 2 arg(s), only received "
                    + flags.arguments().size());
        }
        List<String> scp = new ArrayList<>(List.of("scp", "-q"));
        if (flags.is("recursive")) {
            scp.add("-r");
        }
        List<String> paths = new ArrayList<>();
        for (String argument : flags.arguments()) {
            int colon = argument.indexOf(':');
            if (colon < 0) {
                paths.add(Path.of(argument).toAbsolutePath().toString());
                continue;
            }
            Instance instance = Instance.existing(argument.substring(0, colon));
            if (instance.status().equals("Stopped")) {
                throw new Fatal("instance `" + instance.name + "` is stopped, run `limactl start " + instance.name
                        + "` to start the instance");
            }
            scp.addAll(List.of("-F", instance.file("ssh.config").toString()));
            paths.add(Instance.hostname(instance.name) + ":" + argument.substring(colon + 1));
        }
        scp.add("--");
        scp.addAll(paths);
        System.exit(Sh.pass(scp));
    }

    // --- template ---

    static void template(List<String> words) {
        String verb = words.isEmpty() ? "" : words.get(0);
        if (verb.equals("validate")) {
            for (String file : words.subList(1, words.size())) {
                String text = Template.load(file).embeddedText();
                Config.load(Path.of(file).toAbsolutePath().getParent(), text).validate(text);
                Log.info("`" + file + "`: OK");
            }
            return;
        }
        if (!verb.equals("copy")) {
            throw new Fatal("unknown command \"" + verb + "\" for \"limactl template\"");
        }
        Flags flags = Flags.common().bool("embed").bool("embed-all").bool("verbatim")
                .parse(words.subList(1, words.size()));
        if (flags.arguments().isEmpty() || flags.arguments().size() > 2) {
            throw new Fatal("accepts between 1 and 2 arg(s), received "
                    + flags.arguments().size());
        }
        Template template = Template.load(flags.arguments().get(0));
        String text = flags.is("verbatim") ? template.text() : template.embeddedText();
        String target = flags.arguments().size() < 2 ? "-" : flags.arguments().get(1);
        if (target.equals("-")) {
            System.out.print(text);
        } else {
            Sh.write(Path.of(target).toAbsolutePath(), text, "rw-r--r--");
        }
    }
}
