package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** Lima's home directory ({@code $LIMA_HOME}, else ~/.lima), the names in it, and the host as Lima sees it. */
final class Home {
    static final boolean MAC = System.getProperty("os.name").toLowerCase(Locale.ROOT).contains("mac");
    private static final Pattern NAME = Pattern.compile("^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$");
    private static final int LONGEST_NAME = 76;

    private Home() {}

    /** The directory; made if it is not there, symbolic links resolved, as Lima does it. */
    static Path directory() {
        String set = System.getenv("LIMA_HOME");
        Path path = set == null || set.isEmpty() ? userHome().resolve(".lima") : Path.of(set);
        try {
            if (!Files.isDirectory(path)) {
                Files.createDirectories(path, PosixFilePermissions.asFileAttribute(Sh.MODE_700));
            }
            return path.toRealPath();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static Path userHome() {
        String home = System.getenv("HOME");
        return Path.of(home == null || home.isEmpty() ? System.getProperty("user.home") : home);
    }

    /** What the stand-in keeps beside the instances; Lima passes over names that begin with {@code _}. */
    static Path standIn() {
        return directory().resolve("_standin");
    }

    static Path config() {
        return directory().resolve("_config");
    }

    static Path identity() {
        return config().resolve("user");
    }

    /** Lima's own key pair, made with the first instance. */
    static void makeIdentity() {
        try {
            Files.createDirectories(config(), PosixFilePermissions.asFileAttribute(Sh.MODE_700));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        if (!Files.exists(identity())) {
            Sh.run("ssh-keygen", "-t", "ed25519", "-q", "-N", "", "-C", "lima", "-f", identity().toString());
        }
    }

    static void checkName(String name) {
        String problem = null;
        if (name.isEmpty()) {
            problem = "identifier must not be empty";
        } else if (name.length() > LONGEST_NAME) {
            problem = "identifier `" + name + "` greater than maximum length (76 characters)";
        } else if (!NAME.matcher(name).matches()) {
            problem = "identifier `" + name + "` must match " + NAME.pattern();
        } else if (name.toLowerCase(Locale.ROOT).matches(".*\\.ya?ml")) {
            problem = "name `" + name + "` must not end with .yml or .yaml";
        }
        if (problem != null) {
            throw new Fatal("instance name `" + name + "` is not a valid identifier: " + problem);
        }
    }

    static boolean isName(String text) {
        return text.length() <= LONGEST_NAME
                && NAME.matcher(text).matches()
                && !text.toLowerCase(Locale.ROOT).matches(".*\\.ya?ml");
    }

    /** A socket's path has at most 107 bytes on Linux, 103 on macOS; Lima checks its longest at create and clone. */
    static void checkSocketPath(Path instance) {
        int limit = MAC ? 104 : 108;
        Path longest = instance.resolve("ssh.sock.1234567890123456");
        if (longest.toString().getBytes(java.nio.charset.StandardCharsets.UTF_8).length >= limit) {
            throw new Fatal("instance name `" + instance.getFileName() + "` too long: `" + longest
                    + "` must be less than UNIX_PATH_MAX=" + limit + " characters, but is "
                    + longest.toString().length());
        }
    }

    /** Every sub-directory that does not begin with {@code .} or {@code _}, in order; a symbolic link does not count. */
    static List<String> instances() {
        try (Stream<Path> entries = Files.list(directory())) {
            return entries.filter(entry -> Files.isDirectory(entry, LinkOption.NOFOLLOW_LINKS))
                    .map(entry -> entry.getFileName().toString())
                    .filter(name -> !name.startsWith(".") && !name.startsWith("_"))
                    .sorted()
                    .toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The guest user: the host's, if Linux accepts that name. */
    static String guestUser() {
        String user = System.getProperty("user.name");
        return user.matches("[a-z_][a-z0-9_-]*") && !user.equals("admin") ? user : "lima";
    }

    static int uid() {
        try {
            return (Integer) Files.getAttribute(directory(), "unix:uid");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static String arch() {
        return System.getProperty("os.arch").matches("aarch64|arm64") ? "aarch64" : "x86_64";
    }
}
