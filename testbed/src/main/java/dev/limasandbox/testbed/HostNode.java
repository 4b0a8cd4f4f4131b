package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * The host's Node.js and npm, lent to the guest: wherever they are installed, with the registry and certificates that
 * the host's user has set, without any of the user's tokens.
 */
final class HostNode {
    private static final String SHOWN_AT = "/mnt/host-node";
    private static final List<String> NPM_KEYS = List.of("registry", "cafile", "proxy", "https-proxy", "noproxy",
            "strict-ssl");
    private static final List<String> VARIABLES = List.of(
            "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy",
            "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "npm_config_registry",
            "NPM_CONFIG_REGISTRY", "npm_config_cafile", "NPM_CONFIG_CAFILE");

    private HostNode() {}

    /** The directory that has bin/node and lib/node_modules; null without Node.js. */
    private static Path prefix() {
        Path node = Sh.find("node");
        try {
            return node == null ? null : node.toRealPath().getParent().getParent();
        } catch (IOException e) {
            return null;
        }
    }

    /** Whether the guest sees the installation anyway, with the rest of /usr. */
    private static boolean isInSystem(Path prefix) {
        return prefix.startsWith("/usr") && !prefix.startsWith("/usr/local");
    }

    /** Adds what bubblewrap has to bind, where Node.js lies outside of what the guest sees. */
    static void show(List<String> command) {
        Path prefix = prefix();
        if (prefix != null && !isInSystem(prefix)) {
            for (String part : List.of("bin/node", "lib/node_modules")) {
                if (Files.exists(prefix.resolve(part))) {
                    command.addAll(List.of("--ro-bind", prefix.resolve(part).toString(), SHOWN_AT + "/" + part));
                }
            }
        }
        for (String file : certificateFiles()) {
            if (!file.startsWith("/etc/ssl/") && !file.startsWith("/usr/")) {
                command.addAll(List.of("--ro-bind", file, file));
            }
        }
    }

    /** Puts {@code node}, {@code npm} and {@code npx} on the guest's PATH. */
    static void linkInto(Path bin) {
        Path prefix = prefix();
        if (prefix == null || isInSystem(prefix) || Home.MAC) {
            return;
        }
        link(bin.resolve("node"), SHOWN_AT + "/bin/node");
        link(bin.resolve("npm"), SHOWN_AT + "/lib/node_modules/npm/bin/npm-cli.js");
        link(bin.resolve("npx"), SHOWN_AT + "/lib/node_modules/npm/bin/npx-cli.js");
    }

    private static void link(Path link, String target) {
        try {
            Files.createSymbolicLink(link, Path.of(target));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static Map<String, String> environment() {
        Map<String, String> environment = new LinkedHashMap<>();
        for (String name : VARIABLES) {
            String value = System.getenv(name);
            if (value != null && !value.isEmpty()) {
                environment.put(name, value);
            }
        }
        return environment;
    }

    /** The lines of the host's npm settings that say where packages come from, the user's after the global ones. */
    static String npmrc() {
        StringBuilder kept = new StringBuilder();
        Path prefix = prefix();
        if (prefix != null) {
            keep(kept, prefix.resolve("etc/npmrc"));
        }
        keep(kept, Path.of("/etc/npmrc"));
        keep(kept, Home.userHome().resolve(".npmrc"));
        return kept.toString();
    }

    private static void keep(StringBuilder kept, Path file) {
        for (String line : Sh.readOr(file, "").split("\n")) {
            String key = line.split("=", 2)[0].strip();
            if (NPM_KEYS.contains(key) || key.matches("@[^:]+:registry")) {
                kept.append(line.strip()).append('\n');
            }
        }
    }

    private static Set<String> certificateFiles() {
        Set<String> files = new TreeSet<>();
        for (String name : List.of("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "npm_config_cafile", "NPM_CONFIG_CAFILE")) {
            files.add(String.valueOf(System.getenv(name)));
        }
        npmrc().lines()
                .filter(line -> line.startsWith("cafile"))
                .forEach(line -> files.add(line.split("=", 2)[1].strip().replace("\"", "")));
        files.removeIf(file -> !file.startsWith("/") || !Files.exists(Path.of(file)));
        return files;
    }
}
