package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;

/**
 * A pretended user's computer: a home directory, a Lima home with the stand-in's instances, and an environment with
 * nothing else in it. {@link #shared()} has a finished base, so that a sandbox in it takes seconds.
 */
final class World implements AutoCloseable {
    /** The checkout whose launcher and stand-in are tried. */
    static final Path CHECKOUT = checkout();

    private static final List<World> OPEN = new ArrayList<>();
    private static final List<String> LENT = List.of(
            "JAVA_HOME",
            "http_proxy",
            "https_proxy",
            "no_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "NODE_EXTRA_CA_CERTS",
            "npm_config_registry",
            "NPM_CONFIG_REGISTRY");
    private static World shared;
    private static int count;

    final Path root;
    final Path home;
    final Path lima;
    private final Map<String, String> environment = new TreeMap<>();

    private World() {
        try {
            // A short path: Lima's sockets lie below, and a socket's path has 104 bytes.
            root = Files.createTempDirectory(Path.of("/tmp").toRealPath(), "sb");
            Files.setPosixFilePermissions(root, PosixFilePermissions.fromString("rwx------"));
            home = Files.createDirectories(root.resolve("h"));
            lima = Files.createDirectories(
                    root.resolve("l"),
                    PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        for (String name : LENT) {
            if (System.getenv(name) != null) {
                environment.put(name, System.getenv(name));
            }
        }
        String user = System.getProperty("user.name");
        environment.putAll(Map.of(
                "HOME",
                home.toString(),
                "LIMA_HOME",
                lima.toString(),
                "PATH",
                CHECKOUT.resolve("testbed/bin") + ":" + CHECKOUT.resolve("testbed/qemu") + ":" + System.getenv("PATH")
                        + ":/usr/sbin:/sbin",
                "USER",
                user,
                "LOGNAME",
                user,
                "LANG",
                "C.UTF-8",
                // Many sandboxes on a small machine: none of them is to be asked about for its memory.
                "SANDBOX_MEMORY",
                "0.25",
                "SANDBOX_CPUS",
                "1"));
    }

    private static Path checkout() {
        Path here = Path.of("").toAbsolutePath();
        return Files.exists(here.resolve("sandbox")) ? here : here.getParent();
    }

    /** The one that most tests share; its base is built with the first call. */
    static synchronized World shared() {
        if (shared == null) {
            shared = fresh();
            shared.cli().limit(Duration.ofMinutes(3)).run("--rebuild-base").exits(0);
        }
        return shared;
    }

    /** One of its own, with no base and nothing else. */
    static synchronized World fresh() {
        if (OPEN.isEmpty()) {
            prepare();
        }
        World world = new World();
        OPEN.add(world);
        return world;
    }

    /** Builds launcher and stand-in if they are not, with the real home and its Maven repository. */
    private static void prepare() {
        if (System.getProperty("user.name").equals("root")) {
            throw new IllegalStateException("Lima refuses root, and so does the stand-in: testbed/test runs as a user");
        }
        for (List<String> command : List.of(
                List.of(CHECKOUT + "/sandbox", "--version"), List.of(CHECKOUT + "/testbed/bin/limactl", "--version"))) {
            Cli.start(CHECKOUT, System.getenv(), command)
                    .ends(Duration.ofMinutes(5))
                    .exits(0);
        }
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            for (World world : List.copyOf(OPEN)) {
                world.close();
            }
        }));
    }

    Map<String, String> environment() {
        return new LinkedHashMap<>(environment);
    }

    /** A call of ./sandbox from the home directory. */
    Cli cli() {
        return new Cli(this, home, environment());
    }

    /** A call of ./sandbox from a directory. */
    Cli at(Path directory) {
        return cli().at(directory);
    }

    /** A new directory for a project, {@code ~/p/NUMBER/NAME}, alone in its parent; the name may be odd. */
    synchronized Path project(String name) {
        count++;
        return directory(home.resolve("p").resolve("" + count).resolve(name));
    }

    static Path directory(Path path) {
        try {
            return Files.createDirectories(path);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static Path write(Path file, String text) {
        try {
            Files.createDirectories(file.getParent());
            return Files.writeString(file, text);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static Path executable(Path file, String text) {
        write(file, text);
        try {
            return Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static Path link(Path link, Path target) {
        try {
            Files.createDirectories(link.getParent());
            return Files.createSymbolicLink(link, target);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Runs any program in this world; it must succeed. */
    String run(Path directory, String... words) {
        return Cli.start(directory, environment(), Arrays.asList(words))
                .ends(Duration.ofMinutes(2))
                .exits(0)
                .out()
                .strip();
    }

    String limactl(String... words) {
        List<String> command = new ArrayList<>(List.of("limactl"));
        command.addAll(List.of(words));
        return run(home, command.toArray(String[]::new));
    }

    /** Names of all instances. */
    List<String> instances() {
        return limactl("list", "-q").lines().sorted().toList();
    }

    /** Names of all instances but the bases. */
    List<String> sandboxes() {
        return instances().stream().filter(name -> !name.startsWith("base-")).toList();
    }

    String status(String name) {
        return limactl("list", "--format", "{{.Status}}", name);
    }

    /** The configuration that limactl tells of. */
    JsonNode config(String name) {
        try {
            return new ObjectMapper().readTree(limactl("list", "--format", "{{json .Config}}", name));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The mounts as limactl tells of them: {@code PATH} or, writable, {@code PATH:w}, in order. */
    List<String> mounts(String name) {
        List<String> mounts = new ArrayList<>();
        for (JsonNode mount : config(name).path("mounts")) {
            mounts.add(mount.path("location").asText() + (mount.path("writable").asBoolean() ? ":w" : ""));
        }
        mounts.sort(null);
        return mounts;
    }

    void stop(String name) {
        limactl("stop", name);
    }

    /** Deletes whatever of these there is. */
    void delete(String... names) {
        List<String> there = instances();
        for (String name : names) {
            if (there.contains(name)) {
                limactl("delete", "-f", name);
            }
        }
    }

    /** Stops everything and removes it from the disk. */
    @Override
    public void close() {
        synchronized (World.class) {
            if (!OPEN.remove(this)) {
                return;
            }
        }
        instances().forEach(name -> {
            limactl("unprotect", name);
            limactl("delete", "-f", name);
        });
        remove(root);
    }

    static void remove(Path root) {
        try {
            Files.walkFileTree(root, new SimpleFileVisitor<>() {
                @Override
                public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                    Files.deleteIfExists(file);
                    return FileVisitResult.CONTINUE;
                }

                @Override
                public FileVisitResult postVisitDirectory(Path directory, IOException e) throws IOException {
                    Files.deleteIfExists(directory);
                    return FileVisitResult.CONTINUE;
                }
            });
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Waits until something holds; after the limit the test fails with what was waited for. */
    static void await(Duration limit, Supplier<String> what, BooleanSupplier holds) {
        long end = System.nanoTime() + limit.toNanos();
        while (!holds.getAsBoolean()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("not within " + limit.toSeconds() + " s: " + what.get());
            }
            try {
                Thread.sleep(50);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException(e);
            }
        }
    }

    static void await(int seconds, String what, BooleanSupplier holds) {
        await(Duration.ofSeconds(seconds), () -> what, holds);
    }

    /** A run on a slow machine skips, and says so, what would not end within its time. UNTIL is in minutes. */
    static void timeLeft(int until) {
        String began = System.getenv("SANDBOX_TESTS_BEGAN");
        long now = System.currentTimeMillis() / 1000;
        long minutes = began == null ? 0 : (now - Long.parseLong(began)) / 60;
        assumeTrue(minutes < until, "no time left for it in this run, which began " + minutes + " minutes ago");
    }

    /** A template on Lima's image list whose one script, of a mode, runs before ours. */
    Path template(String mode, String script) {
        return write(project("template").resolve("t.yaml"),
                "base: template:_images/ubuntu-lts\nprovision:\n- mode: " + mode
                        + "\n  script: |\n" + ("#!/bin/sh\n" + script).indent(4));
    }

    /** Does a process run, on the host or in a guest, whose program and arguments are these? */
    static boolean runs(String... words) {
        return ProcessHandle.allProcesses()
                .map(ProcessHandle::info)
                .anyMatch(info -> info.arguments()
                        .map(arguments -> arguments.length == words.length - 1
                                && Arrays.equals(arguments, Arrays.copyOfRange(words, 1, words.length))
                                && info.command().orElse("").endsWith("/" + words[0]))
                        .orElse(false));
    }
}
