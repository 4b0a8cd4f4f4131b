package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;

/** The programs of a pretended computer: a directory for the PATH, in which some of this one's are and others not. */
final class Programs {
    private static final String NOT_EVERYWHERE = "limactl|lima|qemu-.*|sudo|apt-get|dnf|pacman|zypper|apk|brew|jbang";

    final Path bin;

    Programs(Path bin) {
        this.bin = World.directory(bin);
    }

    /** This computer's, without those that a computer without Lima may lack. */
    Programs usual() {
        String path = System.getenv("PATH") + ":/usr/bin:/bin:/usr/sbin:/sbin";
        for (String directory : Arrays.stream(path.split(":")).distinct().toList()) {
            try (Stream<Path> files = Files.list(Path.of(directory))) {
                files.filter(f -> Files.isExecutable(f) && !f.getFileName().toString().matches(NOT_EVERYWHERE))
                        .filter(f -> !Files.exists(bin.resolve(f.getFileName())))
                        .forEach(f -> World.link(bin.resolve(f.getFileName()), f));
            } catch (IOException e) {
                // A directory of the PATH that is not there, or that two of its names lead to.
            }
        }
        return this;
    }

    Programs without(String... names) {
        for (String name : names) {
            try {
                Files.deleteIfExists(bin.resolve(name));
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
        return this;
    }

    /** A program that is a shell script; each of its calls is also noted. */
    Programs script(String name, String script) {
        without(name);
        World.executable(bin.resolve(name),
                "#!/bin/sh\necho \"" + name + " $*\" >> '" + bin + "/calls'\n" + script + "\n");
        return this;
    }

    /** Programs that do nothing. */
    Programs idle(String... names) {
        List.of(names).forEach(name -> script(name, "exit 0"));
        return this;
    }

    /** sudo that is allowed everything. */
    Programs sudo() {
        return script("sudo", "while :; do case $1 in -*) shift ;; *) break ;; esac; done\nexec \"$@\"");
    }

    Programs computer(String system, String machine) {
        return script("uname", "case $1 in -s) echo " + system + " ;; -m) echo " + machine + " ;; esac");
    }

    Programs uid(int uid) {
        return script("id", "echo " + uid);
    }

    /** What was called, one a line. */
    String calls() {
        return Files.exists(bin.resolve("calls")) ? World.read(bin.resolve("calls")) : "";
    }
}
