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
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An instance's effective configuration: its lima.yaml with {@code _config/default.yaml} below it and
 * {@code _config/override.yaml} above it (merged on every load), and every gap filled as Lima 2.2.0 fills it. The order
 * of the keys is that of {@code limactl list --format '{{json .Config}}'}.
 */
final class Config {
    private static final Set<String> KNOWN = Set.of(
            "minimumLimaVersion",
            "base",
            "vmType",
            "vmOpts",
            "os",
            "arch",
            "images",
            "cpuType",
            "cpus",
            "memory",
            "disk",
            "additionalDisks",
            "mounts",
            "mountType",
            "mountTypesUnsupported",
            "mountInotify",
            "ssh",
            "firmware",
            "audio",
            "video",
            "provision",
            "upgradePackages",
            "containerd",
            "guestInstallPrefix",
            "probes",
            "portForwards",
            "copyToHost",
            "message",
            "networks",
            "env",
            "param",
            "dns",
            "hostResolver",
            "propagateProxyEnv",
            "caCerts",
            "rosetta",
            "plain",
            "timezone",
            "nestedVirtualization",
            "user",
            "tpm",
            "osOpts");
    private static final Set<String> RESERVED_MOUNT_POINTS = Set.of("/", "/bin", "/dev", "/etc", "/home", "/opt",
            "/sbin", "/tmp", "/usr", "/var");
    private static final Pattern SIZE = Pattern.compile("(?i)\\s*([0-9.]+)\\s*([kmgt]?)i?b?\\s*");

    private final Path directory;
    private final Map<String, Object> filled;

    private Config(Path directory, Map<String, Object> filled) {
        this.directory = directory;
        this.filled = filled;
    }

    /** The configuration that an instance in this directory would have with this lima.yaml. */
    static Config load(Path directory, String yaml) {
        warnAboutUnknownKeys(yaml, directory.resolve("lima.yaml"));
        Map<String, Object> merged = Yaml.readMap(yaml);
        Path config = directory.getParent().resolve("_config");
        if (Files.exists(config.resolve("default.yaml"))) {
            merged = merge(merged, Yaml.readMap(Sh.read(config.resolve("default.yaml"))));
        }
        if (Files.exists(config.resolve("override.yaml"))) {
            Map<String, Object> override = Yaml.readMap(Sh.read(config.resolve("override.yaml")));
            merged = merge(override, merged);
        }
        Config result = new Config(directory, new LinkedHashMap<>());
        result.fill(merged);
        return result;
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

    private static void warnAboutUnknownKeys(String yaml, Path file) {
        for (String key : Yaml.readMap(yaml).keySet()) {
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

    private void fill(Map<String, Object> y) {
        Map<String, Object> user = Maps.map(y, "user");
        String userName = Maps.text(user, "name", Home.guestUser());
        Map<String, Object> filledUser = ordered(
                "name", userName,
                "comment", Maps.text(user, "comment", ""),
                "home", Maps.text(user, "home", "/home/{{.User}}.guest").replace("{{.User}}", userName),
                "shell", Maps.text(user, "shell", "/bin/bash"),
                "uid", Maps.number(user, "uid", Home.uid()),
                "passwordlessSudo", Maps.flag(user, "passwordlessSudo", true));
        Map<String, Object> param = new TreeMap<>();
        Maps.map(y, "param").forEach((key, value) -> param.put(key, String.valueOf(value)));
        filled.put("user", filledUser);
        filled.put("param", param);

        Map<String, Object> c = new LinkedHashMap<>();
        copyIfSet(c, y, "minimumLimaVersion");
        c.put("vmType", Maps.text(y, "vmType", Home.MAC ? "vz" : "qemu"));
        copyIfSet(c, y, "vmOpts");
        c.put("os", Maps.text(y, "os", "Linux"));
        c.put("arch", Maps.text(y, "arch", Home.arch()).replace("default", Home.arch()));
        if (c.get("vmType").equals("default")) {
            c.put("vmType", Home.MAC ? "vz" : "qemu");
        }
        c.put("images", images(y));
        c.put("cpus", Maps.number(y, "cpus", Math.min(4, Runtime.getRuntime().availableProcessors())));
        c.put("memory", Maps.text(y, "memory", defaultMemory()));
        c.put("disk", Maps.text(y, "disk", "100GiB"));
        copyIfSet(c, y, "additionalDisks");
        List<Object> mounts = new ArrayList<>(mounts(y));
        if (!mounts.isEmpty()) {
            c.put("mounts", mounts);
        }
        copyIfSet(c, y, "mountTypesUnsupported");
        if (!mounts.isEmpty() && y.containsKey("mountType")) {
            c.put("mountType", y.get("mountType"));
        }
        c.put("mountInotify", Maps.flag(y, "mountInotify", false));
        Map<String, Object> ssh = Maps.map(y, "ssh");
        c.put(
                "ssh",
                ordered(
                        "localPort", Maps.number(ssh, "localPort", 0),
                        "loadDotSSHPubKeys", Maps.flag(ssh, "loadDotSSHPubKeys", false),
                        "forwardAgent", Maps.flag(ssh, "forwardAgent", false),
                        "forwardX11", Maps.flag(ssh, "forwardX11", false),
                        "forwardX11Trusted", Maps.flag(ssh, "forwardX11Trusted", false)));
        c.put("firmware", ordered("legacyBIOS", Maps.flag(Maps.map(y, "firmware"), "legacyBIOS", false)));
        c.put("audio", ordered("device", Maps.text(Maps.map(y, "audio"), "device", ""), "interface", ""));
        c.put("video", ordered("display", Maps.text(Maps.map(y, "video"), "display", "none"), "vnc", Map.of()));
        List<Map<String, Object>> provision = provision(y);
        if (!provision.isEmpty()) {
            c.put("provision", provision);
        }
        c.put("upgradePackages", Maps.flag(y, "upgradePackages", false));
        Map<String, Object> containerd = Maps.map(y, "containerd");
        c.put(
                "containerd",
                ordered(
                        "system", Maps.flag(containerd, "system", false),
                        "user", Maps.flag(containerd, "user", true)));
        c.put("guestInstallPrefix", Maps.text(y, "guestInstallPrefix", "/usr/local"));
        List<Map<String, Object>> probes = probes(y);
        if (!probes.isEmpty()) {
            c.put("probes", probes);
        }
        List<Map<String, Object>> forwards = portForwards(y);
        if (!forwards.isEmpty()) {
            c.put("portForwards", forwards);
        }
        List<Map<String, Object>> copies = Maps.maps(y, "copyToHost");
        for (Map<String, Object> copy : copies) {
            copy.put("host", expandOnHost(Maps.text(copy, "host", "")));
        }
        if (!copies.isEmpty()) {
            c.put("copyToHost", copies);
        }
        if (y.get("message") != null) {
            c.put("message", y.get("message"));
        }
        copyIfSet(c, y, "networks");
        copyIfSet(c, y, "env");
        if (!param.isEmpty()) {
            c.put("param", param);
        }
        copyIfSet(c, y, "dns");
        Map<String, Object> resolver = Maps.map(y, "hostResolver");
        Map<String, Object> filledResolver = ordered("enabled", Maps.flag(resolver, "enabled", true), "ipv6",
                Maps.flag(resolver, "ipv6", false));
        copyIfSet(filledResolver, resolver, "hosts");
        c.put("hostResolver", filledResolver);
        c.put("propagateProxyEnv", Maps.flag(y, "propagateProxyEnv", true));
        Map<String, Object> caCerts = ordered("removeDefaults",
                Maps.flag(Maps.map(y, "caCerts"), "removeDefaults", false));
        copyIfSet(caCerts, Maps.map(y, "caCerts"), "files");
        copyIfSet(caCerts, Maps.map(y, "caCerts"), "certs");
        c.put("caCerts", caCerts);
        c.put("rosetta", Maps.map(y, "rosetta"));
        c.put("plain", Maps.flag(y, "plain", false));
        c.put("timezone", Maps.text(y, "timezone", "Etc/UTC"));
        c.put("nestedVirtualization", Maps.flag(y, "nestedVirtualization", false));
        c.put("user", filledUser);
        c.put("tpm", Maps.flag(y, "tpm", false));
        filled.clear();
        filled.putAll(c);
        // Not in the list's output, but needed by the guest; kept apart from what is shown.
        filled.putIfAbsent("param", param);
    }

    private static List<Map<String, Object>> images(Map<String, Object> y) {
        List<Map<String, Object>> images = new ArrayList<>();
        for (Map<String, Object> entry : Maps.maps(y, "images")) {
            Map<String, Object> image = ordered("location", Maps.text(entry, "location", ""));
            image.put("arch", Maps.text(entry, "arch", Home.arch()));
            for (String key : List.of("digest", "variant", "kernel", "initrd")) {
                if (!Maps.text(entry, key, "").isEmpty()) {
                    image.put(key, entry.get(key));
                }
            }
            images.add(image);
        }
        return images;
    }

    private List<Map<String, Object>> mounts(Map<String, Object> y) {
        Map<String, Map<String, Object>> byMountPoint = new LinkedHashMap<>();
        for (Map<String, Object> mount : Maps.maps(y, "mounts")) {
            String location = hostPath(expandOnHost(Maps.text(mount, "location", "")));
            String mountPoint = expandInGuest(Maps.text(mount, "mountPoint", location));
            Map<String, Object> before = byMountPoint.getOrDefault(mountPoint, Map.of());
            boolean writable = Maps.flag(mount, "writable", Boolean.TRUE.equals(before.get("writable")));
            Map<String, Object> ninep = ordered(
                    "securityModel",
                    "none",
                    "protocolVersion",
                    "9p2000.L",
                    "msize",
                    "128KiB",
                    "cache",
                    writable ? "mmap" : "fscache");
            ninep.putAll(Maps.map(mount, "9p"));
            Map<String, Object> sshfs = ordered("cache", true, "followSymlinks", false, "sftpDriver", "");
            sshfs.putAll(Maps.map(mount, "sshfs"));
            byMountPoint.put(
                    mountPoint,
                    ordered(
                            "location",
                            location,
                            "mountPoint",
                            mountPoint,
                            "writable",
                            writable,
                            "sshfs",
                            sshfs,
                            "9p",
                            ninep,
                            "virtiofs",
                            Maps.map(mount, "virtiofs")));
        }
        return List.copyOf(byMountPoint.values());
    }

    private List<Map<String, Object>> provision(Map<String, Object> y) {
        List<Map<String, Object>> scripts = new ArrayList<>();
        for (Map<String, Object> entry : Maps.maps(y, "provision")) {
            Map<String, Object> defaults = new LinkedHashMap<>(Map.of("script", ""));
            String mode = Maps.text(entry, "mode", "system");
            if (mode.equals("data")) {
                defaults.putAll(Map.of("overwrite", true, "owner", "root:root", "permissions", "644"));
            } else if (mode.equals("yq")) {
                defaults.putAll(Map.of("owner", "root:root", "permissions", "644", "format", "auto"));
            }
            Map<String, Object> script = ordered("mode", mode);
            for (String key : List.of(
                    "skipDefaultDependencyResolution",
                    "script",
                    "content",
                    "overwrite",
                    "owner",
                    "path",
                    "permissions",
                    "expression",
                    "format")) {
                Object value = entry.getOrDefault(key, defaults.get(key));
                if (value instanceof String text) {
                    script.put(key, expandInGuest(text));
                } else if (value != null) {
                    script.put(key, value);
                }
            }
            scripts.add(script);
        }
        return scripts;
    }

    private List<Map<String, Object>> probes(Map<String, Object> y) {
        List<Map<String, Object>> given = Maps.maps(y, "probes");
        List<Map<String, Object>> probes = new ArrayList<>();
        for (Map<String, Object> entry : given) {
            Map<String, Object> probe = ordered(
                    "mode", Maps.text(entry, "mode", "readiness"),
                    "description",
                    Maps.text(entry, "description", "user probe " + (probes.size() + 1) + "/" + given.size()),
                    "script", expandInGuest(Maps.text(entry, "script", "")));
            copyIfSet(probe, entry, "hint");
            probes.add(probe);
        }
        return probes;
    }

    private List<Map<String, Object>> portForwards(Map<String, Object> y) {
        List<Map<String, Object>> forwards = new ArrayList<>();
        for (Map<String, Object> entry : Maps.maps(y, "portForwards")) {
            String guestIp = Maps.text(entry, "guestIP", "127.0.0.1");
            boolean anyGuestPort = !entry.containsKey("guestPort") && !entry.containsKey("guestPortRange");
            int guestPort = Maps.number(entry, "guestPort", 0);
            Object guestRange = entry.getOrDefault(
                    "guestPortRange", anyGuestPort ? List.of(1, 65535) : List.of(guestPort, guestPort));
            int hostPort = Maps.number(entry, "hostPort", entry.containsKey("hostPortRange") ? 0 : guestPort);
            boolean socket = entry.containsKey("guestSocket") || entry.containsKey("hostSocket");
            Object hostRange = entry.getOrDefault(
                    "hostPortRange", hostPort != 0 ? List.of(hostPort, hostPort) : socket ? List.of(0, 0) : guestRange);
            Map<String, Object> forward = ordered(
                    "guestIPMustBeZero",
                    Maps.flag(entry, "guestIPMustBeZero", guestIp.equals("0.0.0.0")),
                    "guestIP",
                    guestIp);
            if (guestPort != 0) {
                forward.put("guestPort", guestPort);
            }
            forward.put("guestPortRange", guestRange);
            if (entry.get("guestSocket") != null) {
                forward.put(
                        "guestSocket", expandInGuest(entry.get("guestSocket").toString()));
            }
            forward.put("hostIP", Maps.text(entry, "hostIP", "127.0.0.1"));
            if (hostPort != 0) {
                forward.put("hostPort", hostPort);
            }
            forward.put("hostPortRange", hostRange);
            if (entry.get("hostSocket") != null) {
                forward.put("hostSocket", expandOnHost(entry.get("hostSocket").toString()));
            }
            forward.put("proto", Maps.text(entry, "proto", "any"));
            for (String flag : List.of("reverse", "ignore", "static")) {
                if (Maps.flag(entry, flag, false)) {
                    forward.put(flag, true);
                }
            }
            forwards.add(forward);
        }
        return forwards;
    }

    /** A template error is a warning, and the text is taken as it is: as Lima has it. */
    private String expandInGuest(String text) {
        return expand(text, (String) Maps.map(filled, "user").get("home"));
    }

    private String expandOnHost(String text) {
        return expand(text, Home.userHome().toString());
    }

    private String expand(String text, String home) {
        Map<String, Object> user = Maps.map(filled, "user");
        try {
            return GoTemplate.expand(
                    text,
                    Map.of(
                            "Name", directory.getFileName().toString(),
                            "Hostname",
                            Instance.hostname(directory.getFileName().toString()),
                            "Dir", directory.toString(),
                            "Home", home,
                            "User", user.get("name"),
                            "UID", user.get("uid"),
                            "Param", Maps.map(filled, "param"),
                            "GlobalTempDir", "/tmp",
                            "TempDir", System.getProperty("java.io.tmpdir")));
        } catch (IllegalArgumentException e) {
            Log.warn("Couldn't process `" + text.lines().findFirst().orElse("") + "` as a template: " + e.getMessage());
            return text;
        }
    }

    private static String hostPath(String location) {
        return location.equals("~") || location.startsWith("~/") ? Home.userHome() + location.substring(1) : location;
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
        Map<String, Object> shown = new LinkedHashMap<>(filled);
        if (param().isEmpty()) {
            shown.remove("param");
        }
        return shown;
    }

    String text(String key) {
        return Maps.text(filled, key, "");
    }

    String message() {
        return expandInGuest(text("message")).stripTrailing();
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

    /** 4 GiB, or half of a small host's memory. */
    private static String defaultMemory() {
        String total = Sh.readOr(Path.of("/proc/meminfo"), "")
                .lines()
                .filter(line -> line.startsWith("MemTotal:"))
                .map(line -> line.replaceAll("\\D", ""))
                .findFirst()
                .orElse("16777216");
        long half = Long.parseLong(total) * 1024 / 2;
        return half >= 4L << 30 ? "4GiB" : String.valueOf(half);
    }

    private static void copyIfSet(Map<String, Object> to, Map<String, Object> from, String key) {
        Object value = from.get(key);
        if (value != null
                && !(value instanceof List<?> list && list.isEmpty())
                && !(value instanceof Map<?, ?> map && map.isEmpty())) {
            to.put(key, value);
        }
    }

    private static Map<String, Object> ordered(Object... keysAndValues) {
        Map<String, Object> map = new LinkedHashMap<>();
        for (int i = 0; i < keysAndValues.length; i += 2) {
            map.put((String) keysAndValues[i], keysAndValues[i + 1]);
        }
        return map;
    }
}
