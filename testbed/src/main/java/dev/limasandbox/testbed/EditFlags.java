package dev.limasandbox.testbed;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.yaml.snakeyaml.nodes.MappingNode;
import org.yaml.snakeyaml.nodes.Node;
import org.yaml.snakeyaml.nodes.SequenceNode;

/** The flags that create, clone, edit, start and restart share, and what they do to a lima.yaml. */
final class EditFlags {
    private static final List<String> WITH_VALUE = List.of(
            "cpus", "memory", "disk", "vm-type", "mount", "mount-only", "mount-type", "set", "param", "ssh-port",
            "shell");
    private static final List<String> WITHOUT = List.of("mount-none", "mount-writable");

    private EditFlags() {}

    static Flags declare(Flags flags) {
        WITH_VALUE.forEach(flags::value);
        WITHOUT.forEach(flags::bool);
        return flags;
    }

    static boolean any(Flags flags) {
        return WITH_VALUE.stream().anyMatch(flags::has) || WITHOUT.stream().anyMatch(flags::has);
    }

    /** The text with every flag carried out, in Lima's order, not the command line's; the same text without flags. */
    static String apply(String yaml, Flags flags) {
        checkMountFlags(flags);
        if (!any(flags)) {
            return yaml;
        }
        MappingNode root = Yaml.parse(yaml);
        if (flags.has("cpus")) {
            put(root, "cpus", number("cpus", flags.get("cpus")).intValue());
        }
        if (flags.has("memory")) {
            put(root, "memory", gibibytes("memory", flags.get("memory")));
        }
        if (flags.has("mount-type")) {
            put(root, "mountType", flags.get("mount-type"));
        }
        if (flags.has("vm-type")) {
            put(root, "vmType", flags.get("vm-type"));
        }
        mounts(root, flags);
        for (String expression : flags.all("set")) {
            Yaml.set(root, expression);
        }
        for (String pair : flags.all("param")) {
            param(root, pair);
        }
        if (flags.has("ssh-port")) {
            Yaml.set(
                    root, List.of("ssh", "localPort"),
                    Yaml.node(number("ssh-port", flags.get("ssh-port")).intValue()));
        }
        if (flags.has("disk")) {
            put(root, "disk", gibibytes("disk", flags.get("disk")));
        }
        if (flags.has("shell")) {
            Yaml.set(root, List.of("user", "shell"), Yaml.node(flags.get("shell")));
        }
        return Yaml.print(root);
    }

    private static void checkMountFlags(Flags flags) {
        if (flags.has("mount") && flags.has("mount-only")) {
            throw new Fatal("error while processing flag `mount`: flag `--mount` conflicts with `--mount-only`");
        }
        for (String other : List.of("mount", "mount-only")) {
            if (flags.is("mount-none") && flags.has(other)) {
                throw new Fatal(
                        "error while processing flag `mount-none`: flag `--mount-none` conflicts with `" + other + "`");
            }
        }
    }

    /**
     * Each value is a line of CSV, so a comma in a path makes two mounts; --mount puts its mounts before the others, and
     * only the last {@code :w} is special.
     */
    private static void mounts(MappingNode root, Flags flags) {
        if (flags.is("mount-none")) {
            put(root, "mounts", null);
        }
        List<Object> given = new ArrayList<>();
        List<String> values = flags.has("mount-only") ? flags.all("mount-only") : flags.all("mount");
        for (String value : values) {
            for (String field : csv(value)) {
                boolean writable = field.endsWith(":w");
                String path = writable ? field.substring(0, field.length() - 2) : field;
                String location = path.startsWith("~")
                        ? path
                        : Path.of(path).toAbsolutePath().normalize().toString();
                Map<String, Object> mount = new LinkedHashMap<>();
                mount.put("location", location);
                mount.put("mountPoint", location);
                mount.put("writable", writable);
                given.add(mount);
            }
        }
        if (!given.isEmpty()) {
            SequenceNode list = (SequenceNode) Yaml.node(given);
            if (!flags.has("mount-only") && Yaml.child(root, "mounts") instanceof SequenceNode before) {
                list.getValue().addAll(before.getValue());
            }
            Yaml.set(root, List.of("mounts"), list);
        }
        if (flags.is("mount-writable") && Yaml.child(root, "mounts") instanceof SequenceNode list) {
            for (Node mount : list.getValue()) {
                Yaml.set((MappingNode) mount, List.of("writable"), Yaml.node(true));
            }
        }
    }

    private static void param(MappingNode root, String pair) {
        int equals = pair.indexOf('=');
        String key = equals < 0 ? pair : pair.substring(0, equals);
        Node params = Yaml.child(root, "param");
        if (params == null || Yaml.child(params, key) == null) {
            throw new Fatal("error while processing flag `param`: template does not define param `" + key + "`");
        }
        Yaml.set(root, List.of("param", key), Yaml.node(equals < 0 ? "" : pair.substring(equals + 1)));
    }

    private static List<String> csv(String line) {
        List<String> fields = new ArrayList<>();
        int at = 0;
        while (at <= line.length()) {
            StringBuilder field = new StringBuilder();
            if (at < line.length() && line.charAt(at) == '"') {
                at++;
                while (true) {
                    int quote = line.indexOf('"', at);
                    if (quote < 0) {
                        throw invalidCsv(line, "extraneous or missing \" in quoted-field");
                    }
                    field.append(line, at, quote);
                    at = quote + 1;
                    if (at < line.length() && line.charAt(at) == '"') {
                        field.append('"');
                        at++;
                    } else {
                        break;
                    }
                }
            } else {
                int comma = line.indexOf(',', at);
                int end = comma < 0 ? line.length() : comma;
                field.append(line, at, end);
                at = end;
                if (field.indexOf("\"") >= 0) {
                    throw invalidCsv(line, "bare \" in non-quoted-field");
                }
            }
            fields.add(field.toString());
            if (at == line.length()) {
                break;
            }
            at++;
        }
        return fields;
    }

    private static Fatal invalidCsv(String line, String why) {
        return new Fatal(
                "invalid argument " + Json.quote(line) + " for \"--mount\" flag: parse error on line 1: " + why);
    }

    private static void put(MappingNode root, String key, Object value) {
        Yaml.set(root, List.of(key), Yaml.node(value));
    }

    private static String gibibytes(String flag, String value) {
        double number = number(flag, value).doubleValue();
        return (number == Math.rint(number) ? String.valueOf((long) number) : String.valueOf(number)) + "GiB";
    }

    private static Number number(String flag, String value) {
        try {
            return Double.valueOf(value);
        } catch (NumberFormatException e) {
            throw new Fatal("invalid argument \"" + value + "\" for \"--" + flag
                    + "\" flag: strconv.ParseFloat: parsing \"" + value + "\": invalid syntax");
        }
    }
}
