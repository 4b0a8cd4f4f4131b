package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;

/** The programs of a pretended computer: a directory for the PATH, in which some of this one's are and others not. */
final class Programs {
    private static final List<String> OWN = List.of("curl", "wget", "ssh", "id", "uname");
    private static final String NOT_EVERYWHERE = "limactl|lima|docker|qemu-.*|sudo|apt-get|dnf|pacman|zypper|apk|brew|jbang|"
            + String.join("|", OWN);
    private static Path usual;

    final Path bin;

    /** This computer's programs, without those that a computer without Lima may lack. */
    Programs(Path bin) {
        this.bin = World.directory(bin);
        for (String name : OWN) {
            directories().map(d -> d.resolve(name)).filter(Files::isExecutable).findFirst()
                    .ifPresent(f -> World.link(bin.resolve(name), f));
        }
    }

    String path() {
        return bin + ":" + usual();
    }

    private static Stream<Path> directories() {
        return Arrays.stream((System.getenv("PATH") + ":/usr/bin:/bin:/usr/sbin:/sbin").split(":")).distinct()
                .map(Path::of).filter(Files::isDirectory);
    }

    private static synchronized Path usual() {
        if (usual == null) {
            try {
                usual = Files.createTempDirectory("programs");
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
            Runtime.getRuntime().addShutdownHook(new Thread(() -> World.remove(usual)));
            directories().forEach(Programs::linkAll);
        }
        return usual;
    }

    private static void linkAll(Path directory) {
        try (Stream<Path> files = Files.list(directory)) {
            files.filter(f -> Files.isExecutable(f) && !f.getFileName().toString().matches(NOT_EVERYWHERE))
                    .filter(f -> !Files.exists(usual.resolve(f.getFileName()), LinkOption.NOFOLLOW_LINKS))
                    .forEach(f -> World.link(usual.resolve(f.getFileName()), f));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
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
