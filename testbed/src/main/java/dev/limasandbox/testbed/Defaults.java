package dev.limasandbox.testbed;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Fills every gap of a configuration as Lima 2.2.0 does. The order of the keys is that of {@code limactl list --format
 * '{{json .Config}}'}.
 */
final class Defaults {
    /** Keys that are left out when there is nothing in them; all others are always there. */
    private static final Set<String> OPTIONAL = Set.of(
            "minimumLimaVersion", "vmOpts", "additionalDisks", "mounts", "mountTypesUnsupported", "mountType",
            "provision", "probes", "portForwards", "copyToHost", "message", "networks", "env", "param", "dns");

    private final Map<String, Object> y;
    private final Variables variables;

    Defaults(Map<String, Object> given, Variables variables) {
        this.y = given;
        this.variables = variables;
    }

    Map<String, Object> filled() {
        Map<String, Object> c = new LinkedHashMap<>();
        String driver = Home.MAC ? "vz" : "qemu";
        List<Map<String, Object>> mounts = mounts();
        c.put("minimumLimaVersion", y.get("minimumLimaVersion"));
        c.put("vmType", text("vmType", driver).replace("default", driver));
        c.put("vmOpts", y.get("vmOpts"));
        c.put("os", text("os", "Linux"));
        c.put("arch", text("arch", Home.arch()).replace("default", Home.arch()));
        c.put("images", images());
        c.put("cpus", Maps.number(y, "cpus", Math.min(4, Runtime.getRuntime().availableProcessors())));
        c.put("memory", text("memory", memory()));
        c.put("disk", text("disk", "100GiB"));
        c.put("additionalDisks", y.get("additionalDisks"));
        c.put("mounts", mounts);
        c.put("mountTypesUnsupported", y.get("mountTypesUnsupported"));
        c.put("mountType", mounts.isEmpty() ? null : y.get("mountType"));
        c.put("mountInotify", flag("mountInotify", false));
        c.put("ssh", ssh());
        c.put("firmware", ordered("legacyBIOS", Maps.flag(Maps.map(y, "firmware"), "legacyBIOS", false)));
        c.put("audio", ordered("device", Maps.text(Maps.map(y, "audio"), "device", ""), "interface", ""));
        c.put("video", ordered("display", Maps.text(Maps.map(y, "video"), "display", "none"), "vnc", Map.of()));
        c.put("provision", provision());
        c.put("upgradePackages", flag("upgradePackages", false));
        c.put("containerd", containerd());
        c.put("guestInstallPrefix", text("guestInstallPrefix", "/usr/local"));
        c.put("probes", probes());
        c.put("portForwards", portForwards());
        c.put("copyToHost", copyToHost());
        c.put("message", y.get("message"));
        c.put("networks", y.get("networks"));
        c.put("env", y.get("env"));
        c.put("param", variables.param());
        c.put("dns", y.get("dns"));
        c.put("hostResolver", hostResolver());
        c.put("propagateProxyEnv", flag("propagateProxyEnv", true));
        c.put("caCerts", caCerts());
        c.put("rosetta", Maps.map(y, "rosetta"));
        c.put("plain", flag("plain", false));
        c.put("timezone", text("timezone", "Etc/UTC"));
        c.put("nestedVirtualization", flag("nestedVirtualization", false));
        c.put("user", user());
        c.put("tpm", flag("tpm", false));
        c.entrySet().removeIf(entry -> OPTIONAL.contains(entry.getKey()) && isNothing(entry.getValue()));
        return c;
    }

    private static boolean isNothing(Object value) {
        return value == null
                || (value instanceof List<?> list && list.isEmpty())
                || (value instanceof Map<?, ?> map && map.isEmpty());
    }

    private String text(String key, String otherwise) {
        return Maps.text(y, key, otherwise);
    }

    private boolean flag(String key, boolean otherwise) {
        return Maps.flag(y, key, otherwise);
    }

    private Map<String, Object> user() {
        Map<String, Object> user = Maps.map(y, "user");
        return ordered(
                "name", variables.user(), "comment", Maps.text(user, "comment", ""), "home", variables.guestHome(),
                "shell", Maps.text(user, "shell", "/bin/bash"), "uid", variables.uid(),
                "passwordlessSudo", Maps.flag(user, "passwordlessSudo", true));
    }

    private Map<String, Object> ssh() {
        Map<String, Object> ssh = Maps.map(y, "ssh");
        Map<String, Object> filled = ordered("localPort", Maps.number(ssh, "localPort", 0));
        for (String key : List.of("loadDotSSHPubKeys", "forwardAgent", "forwardX11", "forwardX11Trusted")) {
            filled.put(key, Maps.flag(ssh, key, false));
        }
        return filled;
    }

    private Map<String, Object> containerd() {
        Map<String, Object> containerd = Maps.map(y, "containerd");
        return ordered(
                "system", Maps.flag(containerd, "system", false), "user", Maps.flag(containerd, "user", true));
    }

    private Map<String, Object> hostResolver() {
        Map<String, Object> resolver = Maps.map(y, "hostResolver");
        Map<String, Object> filled = ordered(
                "enabled", Maps.flag(resolver, "enabled", true), "ipv6", Maps.flag(resolver, "ipv6", false));
        if (!isNothing(resolver.get("hosts"))) {
            filled.put("hosts", resolver.get("hosts"));
        }
        return filled;
    }

    private Map<String, Object> caCerts() {
        Map<String, Object> given = Maps.map(y, "caCerts");
        Map<String, Object> filled = ordered("removeDefaults", Maps.flag(given, "removeDefaults", false));
        for (String key : List.of("files", "certs")) {
            if (!isNothing(given.get(key))) {
                filled.put(key, given.get(key));
            }
        }
        return filled;
    }

    private List<Map<String, Object>> copyToHost() {
        List<Map<String, Object>> copies = Maps.maps(y, "copyToHost");
        copies.forEach(copy -> copy.put("host", variables.onHost(Maps.text(copy, "host", ""))));
        return copies;
    }

    private List<Map<String, Object>> images() {
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

    private List<Map<String, Object>> mounts() {
        Map<String, Map<String, Object>> byMountPoint = new LinkedHashMap<>();
        for (Map<String, Object> mount : Maps.maps(y, "mounts")) {
            String location = hostPath(variables.onHost(Maps.text(mount, "location", "")));
            String mountPoint = variables.inGuest(Maps.text(mount, "mountPoint", location));
            Map<String, Object> before = byMountPoint.getOrDefault(mountPoint, Map.of());
            boolean writable = Maps.flag(mount, "writable", Boolean.TRUE.equals(before.get("writable")));
            Map<String, Object> ninep = ordered(
                    "securityModel", "none", "protocolVersion", "9p2000.L", "msize", "128KiB", "cache",
                    writable ? "mmap" : "fscache");
            ninep.putAll(Maps.map(mount, "9p"));
            Map<String, Object> sshfs = ordered("cache", true, "followSymlinks", false, "sftpDriver", "");
            sshfs.putAll(Maps.map(mount, "sshfs"));
            byMountPoint.put(
                    mountPoint,
                    ordered(
                            "location", location, "mountPoint", mountPoint, "writable", writable, "sshfs", sshfs,
                            "9p", ninep, "virtiofs", Maps.map(mount, "virtiofs")));
        }
        return List.copyOf(byMountPoint.values());
    }

    private List<Map<String, Object>> provision() {
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
                    "skipDefaultDependencyResolution", "script", "content", "overwrite", "owner", "path", "permissions",
                    "expression", "format")) {
                Object value = entry.getOrDefault(key, defaults.get(key));
                if (value instanceof String text) {
                    script.put(key, variables.inGuest(text));
                } else if (value != null) {
                    script.put(key, value);
                }
            }
            scripts.add(script);
        }
        return scripts;
    }

    private List<Map<String, Object>> probes() {
        List<Map<String, Object>> given = Maps.maps(y, "probes");
        List<Map<String, Object>> probes = new ArrayList<>();
        for (Map<String, Object> entry : given) {
            Map<String, Object> probe = ordered(
                    "mode", Maps.text(entry, "mode", "readiness"), "description",
                    Maps.text(entry, "description", "user probe " + (probes.size() + 1) + "/" + given.size()),
                    "script", variables.inGuest(Maps.text(entry, "script", "")));
            if (entry.get("hint") != null) {
                probe.put("hint", entry.get("hint"));
            }
            probes.add(probe);
        }
        return probes;
    }

    private List<Map<String, Object>> portForwards() {
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
                    "guestIPMustBeZero", Maps.flag(entry, "guestIPMustBeZero", guestIp.equals("0.0.0.0")), "guestIP",
                    guestIp);
            if (guestPort != 0) {
                forward.put("guestPort", guestPort);
            }
            forward.put("guestPortRange", guestRange);
            if (entry.get("guestSocket") != null) {
                forward.put(
                        "guestSocket", variables.inGuest(entry.get("guestSocket").toString()));
            }
            forward.put("hostIP", Maps.text(entry, "hostIP", "127.0.0.1"));
            if (hostPort != 0) {
                forward.put("hostPort", hostPort);
            }
            forward.put("hostPortRange", hostRange);
            if (entry.get("hostSocket") != null) {
                forward.put("hostSocket", variables.onHost(entry.get("hostSocket").toString()));
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

    private static String hostPath(String location) {
        return location.equals("~") || location.startsWith("~/") ? Home.userHome() + location.substring(1) : location;
    }

    /** 4 GiB, or half of a small host's memory. */
    private static String memory() {
        String total = Sh.readOr(Path.of("/proc/meminfo"), "")
                .lines()
                .filter(line -> line.startsWith("MemTotal:"))
                .map(line -> line.replaceAll("\\D", ""))
                .findFirst()
                .orElse("16777216");
        long half = Long.parseLong(total) * 1024 / 2;
        return half >= 4L << 30 ? "4GiB" : String.valueOf(half);
    }

    private static Map<String, Object> ordered(Object... keysAndValues) {
        Map<String, Object> map = new LinkedHashMap<>();
        for (int i = 0; i < keysAndValues.length; i += 2) {
            map.put((String) keysAndValues[i], keysAndValues[i + 1]);
        }
        return map;
    }
}
