package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** A program on a terminal of 80 columns and 24 lines, which a person could look at and type into: a tmux of its own. */
final class Terminal implements AutoCloseable {
    private final Path folder;
    private final Path raw;
    private final List<String> tmux;

    Terminal(Path root, Path directory, Map<String, String> environment, List<String> command) {
        try {
            folder = Files.createTempDirectory(root, "t");
            raw = Files.createFile(folder.resolve("raw"));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        tmux = List.of("tmux", "-S", folder.resolve("s").toString(), "-f", "/dev/null");
        StringBuilder line = new StringBuilder("exec env -i");
        environment.putIfAbsent("TERM", "xterm-256color");
        environment.put("PWD", directory.toString());
        environment.forEach((name, value) -> line.append(' ').append(quote(name + "=" + value)));
        command.forEach(word -> line.append(' ').append(quote(word)));
        // The program begins when all it writes is being kept. tmux loses an exit code now and then, so a shell keeps it.
        String script = "trap : INT QUIT; until test -e " + file("go") + "; do sleep 0.05; done; sh -c "
                + quote("echo $$ > " + file("pid") + "; " + line) + "; echo $? > " + file("code.new") + "; mv "
                + file("code.new")
                + " " + file("code");
        tmux("new-session", "-d", "-x", "80", "-y", "24", "-c", directory.toString(), "exec sh -c " + quote(script),
                ";",
                "set-option", "-g", "remain-on-exit", "on", ";", "set-option", "-g", "status", "off");
        tmux("pipe-pane", "-O", "cat > " + quote(raw.toString()));
        World.write(folder.resolve("go"), "");
    }

    private String file(String name) {
        return quote(folder.resolve(name).toString());
    }

    private static String quote(String word) {
        return "'" + word.replace("'", "'\\''") + "'";
    }

    private String tmux(String... words) {
        List<String> command = new ArrayList<>(tmux);
        command.addAll(List.of(words));
        try {
            ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
            builder.environment().put("LC_ALL", "C.UTF-8");
            builder.environment().remove("TMUX");
            Process process = builder.start();
            process.getOutputStream().close();
            String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            if (!process.waitFor(10, TimeUnit.SECONDS) || process.exitValue() != 0) {
                throw new AssertionError(command + ": " + out);
            }
            return out;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    /** Types text as it is. */
    Terminal type(String text) {
        tmux("send-keys", "-l", text);
        return this;
    }

    /** Presses a key by its name: Enter, C-c. */
    Terminal press(String key) {
        tmux("send-keys", key);
        return this;
    }

    Terminal resize(int columns, int lines) {
        tmux("resize-window", "-x", "" + columns, "-y", "" + lines);
        return this;
    }

    /** What stands on the screen now, history included. */
    String screen() {
        return tmux("capture-pane", "-p", "-J", "-S", "-").stripTrailing();
    }

    /** What tmux knows of the terminal's state: a format as of display-message. */
    String state(String format) {
        return tmux("display-message", "-p", format).strip();
    }

    /** All bytes that the program wrote. */
    String raw() {
        return World.read(raw);
    }

    Terminal await(String text) {
        World.await(
                Duration.ofSeconds(60),
                () -> "the screen shows " + text + ":\n" + screen(),
                () -> screen().contains(text));
        return this;
    }

    /** Waits for the program's end. */
    Terminal exits(int code) {
        Path kept = folder.resolve("code");
        World.await(Duration.ofSeconds(60), () -> "the program ends:\n" + screen(), () -> Files.exists(kept));
        assertEquals("" + code, World.read(kept).strip(), () -> "exit code; " + screen());
        return this;
    }

    /** The process on the terminal. */
    long pid() {
        Path kept = folder.resolve("pid");
        World.await(10, "the program begins", () -> Files.exists(kept) && !World.read(kept).isBlank());
        return Long.parseLong(World.read(kept).strip());
    }

    /** Closes the window, as its button does. */
    void closeWindow() {
        tmux("kill-pane");
    }

    @Override
    public void close() {
        try {
            Process process = new ProcessBuilder(tmux)
                    .command(kill())
                    .redirectErrorStream(true)
                    .start();
            process.waitFor(10, TimeUnit.SECONDS);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private List<String> kill() {
        List<String> command = new ArrayList<>(tmux);
        command.add("kill-server");
        return command;
    }
}
