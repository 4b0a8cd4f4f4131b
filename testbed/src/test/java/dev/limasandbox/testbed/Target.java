package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;

/**
 * A limactl that tests run: the stand-in, or a real one. Each works in a Lima home of its own under /tmp, whose path is
 * short enough for sockets, with a home directory beside it; {@link #close} leaves nothing of either.
 */
final class Target implements AutoCloseable {
    private static final Path ROOT = root();

    final boolean real;
    final Path program;
    final Path scratch;
    final Path home;
    final Path work;

    private Target(boolean real, Path program) {
        this.real = real;
        this.program = program;
        try {
            scratch = Files.createTempDirectory(Path.of("/tmp"), "lc").toRealPath();
            home = scratch.resolve("l");
            work = Files.createDirectories(scratch.resolve("work"));
            Files.createDirectories(scratch.resolve("home"));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Path root() {
        Path here = Path.of("").toAbsolutePath();
        return Files.exists(here.resolve("testbed/bin")) ? here : here.getParent();
    }

    static Target standIn() {
        return new Target(false, ROOT.resolve("testbed/bin/limactl"));
    }

    static Target real() {
        return new Target(true, realProgram());
    }

    /** The first limactl on the PATH that is not the stand-in and runs; null without one. */
    static Path realProgram() {
        return Stream.of(System.getenv("PATH").split(":"))
                .map(directory -> Path.of(directory, "limactl"))
                .filter(Files::isExecutable)
                .filter(program -> !read(program, 4).equals("#!/b"))
                .filter(program -> Result.of(new ProcessBuilder(program.toString(), "--version"), "").code == 0)
                .findFirst()
                .orElse(null);
    }

    private static String read(Path file, int bytes) {
        try (InputStream in = Files.newInputStream(file)) {
            return new String(in.readNBytes(bytes), StandardCharsets.ISO_8859_1);
        } catch (IOException e) {
            return "";
        }
    }

    @Override
    public String toString() {
        return real ? "a real Lima" : "the stand-in";
    }

    /** What a program left. */
    record Result(int code, String out, String err) {
        Result exits(int expected) {
            assertEquals(expected, code, () -> "stdout: " + out + "\nstderr: " + err);
            return this;
        }

        static Result of(ProcessBuilder builder, String input) {
            try {
                Process process = builder.start();
                var out = CompletableFuture.supplyAsync(() -> text(process.getInputStream()));
                var err = CompletableFuture.supplyAsync(() -> text(process.getErrorStream()));
                try (var stdin = process.getOutputStream()) {
                    stdin.write(input.getBytes(StandardCharsets.UTF_8));
                } catch (IOException e) {
                    // It ended without reading.
                }
                if (!process.waitFor(45, TimeUnit.MINUTES)) {
                    process.destroyForcibly();
                    throw new AssertionError(builder.command() + " does not end");
                }
                return new Result(process.exitValue(), out.join(), err.join());
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException(e);
            }
        }

        private static String text(InputStream stream) {
            try {
                return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    ProcessBuilder command(String... words) {
        ProcessBuilder builder = new ProcessBuilder(words).directory(work.toFile());
        Map<String, String> environment = builder.environment();
        environment.keySet().removeIf(name -> name.startsWith("LIMA_") || name.startsWith("XDG_"));
        environment.put("LIMA_HOME", home.toString());
        environment.put("HOME", scratch.resolve("home").toString());
        return builder;
    }

    Result run(String... words) {
        return Result.of(command(words), "");
    }

    Result limactl(String... arguments) {
        return limactlReading("", arguments);
    }

    /** {@code limactl start} of an instance, once more if its kernel crashes: it does now and then when it is emulated. */
    Result start(String name) {
        String[] words = {program.toString(), "start", "--tty=false", "--timeout", "15m", name};
        var first = CompletableFuture.supplyAsync(() -> Result.of(command(words), ""));
        while (!first.isDone()) {
            LockSupport.parkNanos(500_000_000L);
            if (crashed(name)) {
                limactl("stop", "-f", name);
                first.join();
                return Result.of(command(words), "");
            }
        }
        return first.join();
    }

    /** Did the kernel of a real machine crash in this boot? */
    boolean crashed(String name) {
        Path console = lima(name, "serial.log");
        return real && Files.exists(console) && read(console).contains("Kernel panic - not syncing");
    }

    Result limactlReading(String input, String... arguments) {
        List<String> words = new ArrayList<>(List.of(program.toString()));
        words.addAll(List.of(arguments));
        return Result.of(command(words.toArray(String[]::new)), input);
    }

    /** A command in the guest, over the instance's ssh.config, without Lima's own master. */
    Result ssh(String name, String command) {
        return run(
                "ssh", "-F", home.resolve(name).resolve("ssh.config").toString(), "-o", "LogLevel=ERROR", "-o",
                "ControlPath=none", "lima-" + name, "--", command);
    }

    /** A file in the working directory. */
    Path file(String name, String text) {
        return write(work.resolve(name), text);
    }

    static Path write(Path file, String text) {
        try {
            Files.createDirectories(file.getParent());
            return Files.writeString(file, text);
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

    /** A template that no machine can boot, on an image of 1 MiB, with more YAML behind it. */
    Path template(String more) {
        Path image = work.resolve("tiny.qcow2");
        if (!Files.exists(image)) {
            run("qemu-img", "create", "-q", "-f", "qcow2", image.toString(), "1M")
                    .exits(0);
        }
        return file("template.yaml", """
                # written by hand
                images: [{location: %s, arch: %s}]
                containerd: {system: false, user: false}
                cpus: 1
                memory: 1GiB   # enough
                disk: 2GiB
                """.formatted(image, Home.arch()) + more);
    }

    /** Creates an instance of {@link #template}. */
    Result create(String name, String more, String... flags) {
        List<String> words = new ArrayList<>(List.of("create", "--tty=false", "--name", name));
        words.addAll(List.of(flags));
        words.add(template(more).toString());
        return limactl(words.toArray(String[]::new));
    }

    Path lima(String name, String file) {
        return home.resolve(name).resolve(file);
    }

    /** All instances by name, as {@code list} gives them. */
    Map<String, JsonNode> list() {
        Map<String, JsonNode> instances = new LinkedHashMap<>();
        limactl("list", "--format", "{{json .}}").exits(0).out().lines().forEach(line -> {
            JsonNode instance = json(line);
            instances.put(instance.get("name").asText(), instance);
        });
        return instances;
    }

    JsonNode instance(String name) {
        return list().get(name);
    }

    String status(String name) {
        return instance(name).get("status").asText();
    }

    static JsonNode json(String text) {
        try {
            return new ObjectMapper().readTree(text);
        } catch (JsonProcessingException e) {
            throw new AssertionError("not JSON: " + text, e);
        }
    }

    /** Ends what still runs, and removes all. */
    @Override
    public void close() {
        try (Stream<Path> entries = Files.exists(home) ? Files.list(home) : Stream.empty()) {
            List<String> names = entries.filter(Files::isDirectory)
                    .map(entry -> entry.getFileName().toString())
                    .filter(name -> !name.startsWith("_"))
                    .toList();
            names.forEach(name -> limactl("stop", "-f", name));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        run("chmod", "-R", "u+rwX", scratch.toString());
        Result.of(new ProcessBuilder("rm", "-rf", scratch.toString()), "").exits(0);
    }
}
