package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.UUID;

/** The guest's own files: what stands on its disk when it boots for the first time, and what every boot writes. */
final class GuestDisk {
    private static final List<String> DIRECTORIES = words("home root opt srv etc/ssh/sshd_config.d etc/profile.d"
            + " etc/apt/sources.list.d etc/apt/keyrings etc/systemd/system etc/systemd/user etc/sysctl.d local/bin"
            + " local/lib local/share local/sbin var/log var/tmp var/lib var/cache var/mail var/spool");

    /** What of the host's /etc programs need to run at all; the guest gets a copy of its own, which it may write. */
    private static final List<String> FROM_ETC = words(
            "alternatives bash.bashrc bashrc ca-certificates"
                    + " ca-certificates.conf crypto-policies debian_version fonts gai.conf inputrc java java-* ld.so.cache"
                    + " ld.so.conf ld.so.conf.d locale.conf localtime login.defs magic maven mime.types networks npmrc"
                    + " os-release perl pki profile profile.d protocols python3 services shells skel ssl terminfo timezone vim");

    private final Guest guest;
    private final Path disk;
    private final Path etc;

    GuestDisk(Guest guest) {
        this.guest = guest;
        this.disk = guest.disk();
        this.etc = disk.resolve("etc");
    }

    private static List<String> words(String text) {
        return List.of(text.split(" "));
    }

    void make() {
        if (!Files.exists(disk)) {
            DIRECTORIES.forEach(directory -> Sh.makeDirectories(disk.resolve(directory)));
            Sh.run("ln", "-s", "../run", disk.resolve("var/run").toString());
            copyFromEtc();
            makeHome();
        }
        writeIdentity();
    }

    /** Files that this user cannot read are left out. */
    private void copyFromEtc() {
        for (String pattern : FROM_ETC) {
            try (DirectoryStream<Path> entries = Files.newDirectoryStream(Path.of("/etc"), pattern)) {
                for (Path entry : entries) {
                    Sh.tryRun("cp", "-R", "-P", "-p", entry.toString(), etc + "/");
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
        Sh.tryRun("chmod", "-R", "u+rwX", etc.toString());
    }

    private void makeHome() {
        for (String file : words(".profile .bashrc .bash_logout")) {
            Path source = Path.of("/etc/skel", file);
            if (Files.exists(source)) {
                Sh.write(disk.resolve("home").resolve(file), Sh.read(source), "rw-r--r--");
            }
        }
        String npm = HostNode.npmrc();
        if (!npm.isEmpty()) {
            Sh.write(disk.resolve("home/.npmrc"), npm, "rw-------");
        }
    }

    /** The files that change with the instance's name and the host's network, written on every boot. */
    private void writeIdentity() {
        String user = guest.user();
        String ids = ":x:" + Home.uid();
        write("hostname", guest.hostname() + "\n");
        write(
                "hosts",
                "127.0.0.1 localhost host.lima.internal host.docker.internal\n127.0.1.1 " + guest.hostname() + "\n");
        write(
                "passwd",
                "root:x:0:0:root:/root:/bin/bash\n"
                        + user + ids + ":" + Home.uid() + "::" + guest.home() + ":/bin/bash\n"
                        + "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n");
        // No group tty: sshd would give the terminal to it, which an ordinary user may not do, and hang up.
        write("group", "root:x:0:\n" + user + ids + ":\nnogroup:x:65534:\n");
        write("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n");
        write("resolv.conf", Sh.readOr(Path.of("/etc/resolv.conf"), ""));
        write("profile.d/zz-standin.sh", "PATH=" + guest.cidataInside() + "/bin:$HOME/.npm-global/bin:$PATH\n");
        if (Sh.readOr(etc.resolve("machine-id"), "").isEmpty()) {
            write("machine-id", UUID.randomUUID().toString().replace("-", "") + "\n");
        }
    }

    private void write(String name, String text) {
        Sh.write(etc.resolve(name), text, "rw-r--r--");
    }
}
