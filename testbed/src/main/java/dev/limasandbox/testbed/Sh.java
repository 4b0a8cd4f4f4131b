package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/** Other programs and plain file work. */
final class Sh {
    static final Set<PosixFilePermission> MODE_700 = PosixFilePermissions.fromString("rwx------");

    private Sh() {}

    record Result(int code, String output) {}

    /** Runs a program to its end; gives its exit code and what it printed on both streams. */
    static Result tryRun(List<String> command) {
        try {
            Process process = new ProcessBuilder(command)
                    .redirectErrorStream(true)
                    .redirectInput(ProcessBuilder.Redirect.from(new java.io.File("/dev/null")))
                    .start();
            String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            return new Result(process.waitFor(), output);
        } catch (IOException e) {
            return new Result(127, String.valueOf(e.getMessage()));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new Fatal("interrupted");
        }
    }

    static Result tryRun(String... command) {
        return tryRun(Arrays.asList(command));
    }

    /** Runs a program whose output goes nowhere, and gives its exit code. */
    static int quiet(List<String> command) {
        try {
            return new ProcessBuilder(command)
                    .redirectInput(ProcessBuilder.Redirect.from(new java.io.File("/dev/null")))
                    .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                    .redirectError(ProcessBuilder.Redirect.DISCARD)
                    .start()
                    .waitFor();
        } catch (IOException e) {
            return 127;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new Fatal("interrupted");
        }
    }

    /** Runs a program that has to succeed. */
    static String run(String... command) {
        Result result = tryRun(command);
        if (result.code() != 0) {
            throw new Fatal("stand-in: " + String.join(" ", command) + " failed with " + result.code() + ": "
                    + result.output().strip());
        }
        return result.output();
    }

    /** Runs a program on our own streams and gives its exit code; 255 when a signal ended it, as Lima has it. */
    static int pass(List<String> command) {
        try {
            int code = new ProcessBuilder(command).inheritIO().start().waitFor();
            return code > 128 && code < 165 ? 255 : code;
        } catch (IOException e) {
            throw new Fatal(String.valueOf(e.getMessage()));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new Fatal("interrupted");
        }
    }

    /** The path of a program on our PATH or in the places for system programs; null if there is none. */
    static Path find(String program) {
        String path = System.getenv("PATH") + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
        for (String directory : path.split(":")) {
            Path file = Path.of(directory.isEmpty() ? "." : directory, program);
            if (Files.isExecutable(file) && !Files.isDirectory(file)) {
                return file.toAbsolutePath();
            }
        }
        return null;
    }

    /** Whether a process runs; one that ended and was not waited for yet does not. */
    static boolean isAlive(long pid) {
        if (!ProcessHandle.of(pid).map(ProcessHandle::isAlive).orElse(false)) {
            return false;
        }
        String stat = readOr(Path.of("/proc/" + pid + "/stat"), "");
        return !stat.substring(stat.lastIndexOf(')') + 1).startsWith(" Z");
    }

    static String quote(String word) {
        return "'" + word.replace("'", "'\\''") + "'";
    }

    static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static String readOr(Path file, String otherwise) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            return otherwise;
        }
    }

    /** Writes a file anew, whatever its mode was. */
    static void write(Path file, String text, String mode) {
        try {
            Files.createDirectories(file.getParent());
            Files.deleteIfExists(file);
            Files.writeString(file, text);
            Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(mode));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static void makeDirectories(Path directory) {
        try {
            Files.createDirectories(directory);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Removes a file or a whole tree, directories without permissions included. */
    static void remove(Path path) {
        if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        if (tryRun("rm", "-rf", path.toString()).code() != 0) {
            tryRun("chmod", "-R", "u+rwX", path.toString());
            run("rm", "-rf", path.toString());
        }
    }

    /** Copies a tree; where the file system can, without copying the blocks. */
    static void copyTree(Path from, Path to) {
        makeDirectories(to.getParent());
        if (Home.MAC) {
            if (tryRun("cp", "-cRp", from.toString(), to.toString()).code() != 0) {
                run("cp", "-Rp", from.toString(), to.toString());
            }
        } else {
            run("cp", "-a", "--reflink=auto", from.toString(), to.toString());
        }
    }
}
