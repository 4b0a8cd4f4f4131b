package dev.limasandbox.testbed;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An instance's effective configuration: its lima.yaml with {@code _config/default.yaml} below it and
 * {@code _config/override.yaml} above it (merged on every load), and every gap filled as Lima 2.2.0 fills it. The order
 * of the keys is that of {@code limactl list --format '{{json .Config}}'}.
 */
final class Config {
    private static final Set<String> KNOWN = Set.of(
            "minimumLimaVersion", "base", "vmType", "vmOpts", "os", "arch", "images", "cpuType", "cpus", "memory",
            "disk", "additionalDisks", "mounts", "mountType", "mountTypesUnsupported", "mountInotify", "ssh",
            "firmware", "audio", "video", "provision", "upgradePackages", "containerd", "guestInstallPrefix",
            "probes", "portForwards", "copyToHost", "message", "networks", "env", "param", "dns", "hostResolver",
            "propagateProxyEnv", "caCerts", "rosetta", "plain", "timezone", "nestedVirtualization", "user", "tpm",
            "osOpts");
    private static final Set<String> RESERVED_MOUNT_POINTS = Set.of("/", "/bin", "/dev", "/etc", "/home", "/opt",
            "/sbin", "/tmp", "/usr", "/var");
    private static final Pattern SIZE = Pattern.compile("(?i)\\s*([0-9.]+)\\s*([kmgt]?)i?b?\\s*");

    private final Map<String, Object> filled;
    private final Variables variables;

    private Config(Map<String, Object> filled, Variables variables) {
        this.filled = filled;
        this.variables = variables;
    }

    /** The configuration that an instance in this directory would have with this lima.yaml. */
    static Config load(Path directory, String yaml) {
        Map<String, Object> merged = Yaml.readMap(yaml);
        warnAboutUnknownKeys(merged, yaml, directory.resolve("lima.yaml"));
        Path config = directory.getParent().resolve("_config");
        if (Files.exists(config.resolve("default.yaml"))) {
            merged = merge(merged, Yaml.readMap(Sh.read(config.resolve("default.yaml"))));
        }
        if (Files.exists(config.resolve("override.yaml"))) {
            Map<String, Object> override = Yaml.readMap(Sh.read(config.resolve("override.yaml")));
            merged = merge(override, merged);
        }
        Variables variables = Variables.of(directory, merged);
        return new Config(new Defaults(merged, variables).filled(), variables);
    }

    /** Scalars: the upper one counts; maps: key by key; lists: the upper one's first. Mounts: the upper one's last. */
    private static Map<String, Object> merge(Map<String, Object> upper, Map<String, Object> lower) {
        Map<String, Object> merged = new LinkedHashMap<>(upper);
        lower.forEach((key, value) -> merged.merge(key, value, (above, below) -> {
            if (above instanceof Map<?, ?> a && below instanceof Map<?, ?> b) {
                return merge(Maps.copy(a), Maps.copy(b));
            }
            if (above instanceof List<?> a && below instanceof List<?> b) {
                List<Object> all = new ArrayList<>(key.equals("mounts") ? b : a);
                all.addAll(key.equals("mounts") ? a : b);
                return all;
            }
            return above;
        }));
        merged.values().removeIf(Objects::isNull);
        return merged;
    }

    private static void warnAboutUnknownKeys(Map<String, Object> values, String yaml, Path file) {
        for (String key : values.keySet()) {
            if (!KNOWN.contains(key)) {
                int line = 1
                        + (int) yaml.substring(0, Math.max(0, ("\n" + yaml).indexOf("\n" + key)))
                                .lines()
                                .count();
                Log.warn(
                        "Non-strict YAML detected; please check for typos",
                        Map.of(
                                "comment", "main file `" + file + "`",
                                "error", "[" + line + ":1] unknown field \"" + key + "\"\n"));
            }
        }
    }

    /** What Lima refuses at create, edit and start. */
    void validate(String yaml) {
        Map<String, Object> raw = Yaml.readMap(yaml);
        String vmType = text("vmType");
        if (!vmType.equals("qemu") && !(Home.MAC && vmType.equals("vz"))) {
            throw new Fatal("vmType `" + vmType + "` is not a registered driver");
        }
        if (Maps.maps(filled, "images").isEmpty()) {
            throw new Fatal("field `images` must be set");
        }
        bytes("memory");
        bytes("disk");
        int index = 0;
        for (Map<String, Object> mount : mounts()) {
            String field = "field `mounts[" + index + "].";
            String location = Maps.text(mount, "location", "");
            String mountPoint = Maps.text(mount, "mountPoint", "");
            if (!location.startsWith("/")) {
                throw new Fatal(field + "location` must be an absolute path, got `" + location + "`");
            }
            if (RESERVED_MOUNT_POINTS.contains(mountPoint)) {
                throw new Fatal(field + "mountPoint` must not be a system path such as /etc or /usr");
            }
            if (!Files.exists(Path.of(location))) {
                Log.warn(field + "location` refers to a non-existent directory: `" + location + "`:");
            }
            index++;
        }
        for (String key : Maps.map(raw, "param").keySet()) {
            Matcher use = Pattern.compile(
                    "\\.Param\\." + Pattern.quote(key) + "\\b|\\bPARAM_" + Pattern.quote(key) + "\\b")
                    .matcher(yaml);
            if (!use.find()) {
                throw new Fatal("field `param` key `" + key
                        + "` is not used in any provision, probe, copyToHost, or portForward");
            }
        }
    }

    /** The configuration as {@code list} shows it. */
    Map<String, Object> shown() {
        return filled;
    }

    String text(String key) {
        return Maps.text(filled, key, "");
    }

    String message() {
        return variables.inGuest(text("message")).stripTrailing();
    }

    int cpus() {
        return Maps.number(filled, "cpus", 1);
    }

    long bytes(String key) {
        return parseSize(key, text(key));
    }

    static long parseSize(String field, String text) {
        Matcher size = SIZE.matcher(text);
        if (!size.matches()) {
            throw new Fatal("field `" + field + "` has an invalid value: invalid size: '" + text + "'");
        }
        int power = " kmgt".indexOf(size.group(2).isEmpty() ? " " : size.group(2).toLowerCase(Locale.ROOT));
        return (long) (Double.parseDouble(size.group(1)) * Math.pow(1024, power));
    }

    Map<String, Object> user() {
        return Maps.map(filled, "user");
    }

    Map<String, Object> ssh() {
        return Maps.map(filled, "ssh");
    }

    Map<String, Object> param() {
        return Maps.map(filled, "param");
    }

    Map<String, Object> environment() {
        return Maps.map(filled, "env");
    }

    List<Map<String, Object>> mounts() {
        return Maps.maps(filled, "mounts");
    }

    List<Map<String, Object>> provision() {
        return Maps.maps(filled, "provision");
    }

    List<Map<String, Object>> probes() {
        return Maps.maps(filled, "probes");
    }

    List<Map<String, Object>> portForwards() {
        return Maps.maps(filled, "portForwards");
    }

    List<Map<String, Object>> images() {
        return Maps.maps(filled, "images");
    }
}
