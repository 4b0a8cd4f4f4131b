package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * One call of the launcher, described bit by bit and then run:
 * {@code world.at(dir).env("A", "b").run("demo", "echo", "hi").exits(0).out("hi\n")}.
 */
final class Cli {
    private static final String PROGRAM = World.CHECKOUT.resolve("sandbox").toString();

    private final World world;
    private final Path directory;
    private final Map<String, String> environment;
    private byte[] input = {};
    private Duration limit = Duration.ofSeconds(120);

    Cli(World world, Path directory, Map<String, String> environment) {
        this.world = world;
        this.directory = directory;
        this.environment = environment;
    }

    Cli at(Path other) {
        return new Cli(world, other, environment);
    }

    Cli env(String name, String value) {
        environment.put(name, value);
        return this;
    }

    Cli without(String name) {
        environment.remove(name);
        return this;
    }

    Map<String, String> environment() {
        return environment;
    }

    Cli input(byte[] bytes) {
        input = bytes;
        return this;
    }

    Cli input(String text) {
        return input(text.getBytes(StandardCharsets.UTF_8));
    }

    Cli limit(Duration other) {
        limit = other;
        return this;
    }

    /** Runs ./sandbox with these words to its end. */
    Result run(String... words) {
        Running running = start(words);
        running.type(input);
        return running.ends(limit);
    }

    /** Starts ./sandbox with these words; its input stays open. */
    Running start(String... words) {
        return start(directory, environment, command(words));
    }

    /** Runs it on a terminal of its own. */
    Terminal terminal(String... words) {
        return new Terminal(world.root, directory, environment, command(words));
    }

    private static List<String> command(String... words) {
        List<String> command = new ArrayList<>(List.of(PROGRAM));
        command.addAll(List.of(words));
        return command;
    }

    /** Starts any program with exactly this environment. */
    static Running start(Path directory, Map<String, String> environment, List<String> command) {
        try {
            List<String> found = new ArrayList<>(command);
            found.set(0, onPath(command.get(0), environment.get("PATH")));
            ProcessBuilder builder = new ProcessBuilder(found).directory(directory.toFile());
            builder.environment().clear();
            builder.environment().putAll(environment);
            builder.environment().put("PWD", directory.toString());
            return new Running(builder.start(), command);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Java itself would look on the PATH of this process, where another limactl may be. */
    private static String onPath(String program, String path) {
        return program.contains("/")
                ? program
                : java.util.Arrays.stream(path.split(":"))
                        .map(directory -> Path.of(directory, program))
                        .filter(java.nio.file.Files::isExecutable)
                        .findFirst()
                        .orElseThrow(() -> new AssertionError("no " + program + " on " + path))
                        .toString();
    }

    /** A program that runs. */
    static final class Running {
        final Process process;
        private final List<String> command;
        private final Stream out;
        private final Stream err;

        Running(Process process, List<String> command) {
            this.process = process;
            this.command = command;
            this.out = new Stream(process.getInputStream());
            this.err = new Stream(process.getErrorStream());
        }

        /** Writes the input and ends it. */
        Running type(byte[] bytes) {
            Thread writer = new Thread(() -> {
                try (OutputStream in = process.getOutputStream()) {
                    in.write(bytes);
                } catch (IOException e) {
                    // It ended without reading; its exit code says why.
                }
            });
            writer.setDaemon(true);
            writer.start();
            return this;
        }

        String out() {
            return out.text();
        }

        String err() {
            return err.text();
        }

        Running awaitOut(String text) {
            return await("stdout has " + text, () -> out.text().contains(text));
        }

        Running awaitErr(String text) {
            return await("stderr has " + text, () -> err.text().contains(text));
        }

        private Running await(String what, java.util.function.BooleanSupplier holds) {
            World.await(Duration.ofSeconds(90), () -> what + "; " + this, () -> {
                if (!process.isAlive() && !holds.getAsBoolean()) {
                    // It may have written this at its end.
                    ends(Duration.ofSeconds(5));
                    assertTrue(holds.getAsBoolean(), () -> "ended, but not: " + what + "; " + this);
                }
                return holds.getAsBoolean();
            });
            return this;
        }

        /** Waits for its end and the end of its streams. */
        Result ends(Duration limit) {
            try {
                if (!process.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS)) {
                    process.descendants().forEach(ProcessHandle::destroyForcibly);
                    process.destroyForcibly();
                    fail("did not end within " + limit.toSeconds() + " s; " + this);
                }
                for (Stream stream : List.of(out, err)) {
                    stream.join(10_000);
                    if (stream.isAlive()) {
                        fail("ended, but something still holds its output open; " + this);
                    }
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException(e);
            }
            return new Result(command, process.exitValue(), out.bytes(), err.text());
        }

        /** Sends a signal to it alone. */
        Running signal(String name) {
            Cli.signal(name, process.pid());
            return this;
        }

        @Override
        public String toString() {
            return command + "\n--- stdout\n" + out.text() + "\n--- stderr\n" + err.text();
        }
    }

    static void signal(String name, long pid) {
        try {
            new ProcessBuilder("kill", "-" + name, "" + pid).start().waitFor();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    /** Reads a stream to its end. */
    private static final class Stream extends Thread {
        private final InputStream in;
        private final ByteArrayOutputStream read = new ByteArrayOutputStream();

        Stream(InputStream in) {
            this.in = in;
            setDaemon(true);
            start();
        }

        @Override
        public void run() {
            byte[] buffer = new byte[8192];
            try {
                for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                    read.write(buffer, 0, n);
                }
            } catch (IOException e) {
                // Closed with the process.
            }
        }

        byte[] bytes() {
            return read.toByteArray();
        }

        String text() {
            return read.toString(StandardCharsets.UTF_8);
        }
    }

    /** What a call left. Each check gives the result itself, and fails with all that the call wrote. */
    static final class Result {
        private final List<String> command;
        private final int exit;
        private final byte[] bytes;
        private final String out;
        private final String err;

        Result(List<String> command, int exit, byte[] bytes, String err) {
            this.command = command;
            this.exit = exit;
            this.bytes = bytes;
            this.out = new String(bytes, StandardCharsets.UTF_8);
            this.err = err;
        }

        int exit() {
            return exit;
        }

        String out() {
            return out;
        }

        byte[] bytes() {
            return bytes;
        }

        String err() {
            return err;
        }

        Result exits(int expected) {
            assertEquals(expected, exit, () -> "exit code; " + this);
            return this;
        }

        Result out(String expected) {
            assertEquals(expected, out, () -> "stdout; " + this);
            return this;
        }

        Result bytes(byte[] expected) {
            assertArrayEquals(expected, bytes);
            return this;
        }

        Result outHas(String... texts) {
            return has("stdout", out, texts);
        }

        Result errHas(String... texts) {
            return has("stderr", err, texts);
        }

        Result errLacks(String... texts) {
            for (String text : texts) {
                assertTrue(!err.contains(text), () -> "stderr must not have '" + text + "'; " + this);
            }
            return this;
        }

        Result outLacks(String... texts) {
            for (String text : texts) {
                assertTrue(!out.contains(text), () -> "stdout must not have '" + text + "'; " + this);
            }
            return this;
        }

        /** Nothing was said at all. */
        Result silent() {
            assertEquals("", err, () -> "stderr; " + this);
            return this;
        }

        private Result has(String stream, String all, String... texts) {
            for (String text : texts) {
                assertTrue(all.contains(text), () -> stream + " lacks '" + text + "'; " + this);
            }
            return this;
        }

        @Override
        public String toString() {
            return command + "\n--- exit code " + exit + "\n--- stdout\n" + out + "\n--- stderr\n" + err;
        }
    }
}
