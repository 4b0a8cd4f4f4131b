package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The bubblewrap command line that shows a guest its own files, the host's programs, its mounts, and nothing else. */
final class Bubblewrap {
    private static final List<String> WITH_PIDS = List.of("bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc",
            "--unshare-uts");
    private static final List<String> WITHOUT_PIDS = List.of("bwrap", "--unshare-user", "--unshare-ipc",
            "--unshare-uts");

    /** So that the guest can mount, and only that: a user namespace below bubblewrap's, which keeps the right to itself. */
    private static final List<String> WITH_MOUNTS = List.of("unshare", "--user", "--map-current-user",
            "--mount", "--keep-caps", "setpriv", "--inh-caps=-all,+sys_admin", "--ambient-caps=-all,+sys_admin",
            "--bounding-set=-all,+sys_admin");

    private final Guest guest;

    Bubblewrap(Guest guest) {
        this.guest = guest;
    }

    /** Whether processes of the guest can have a process table of their own; not in every container. */
    static boolean hasPrivatePids() {
        return Sh.tryRun(probe(WITH_PIDS, "--proc", "/proc")).code() == 0;
    }

    private static List<String> probe(List<String> start, String... proc) {
        List<String> command = new ArrayList<>(start);
        command.addAll(List.of("--ro-bind", "/", "/", "--dev", "/dev"));
        command.addAll(List.of(proc));
        command.add("true");
        return command;
    }

    private static List<String> canMount() {
        List<String> command = probe(WITH_PIDS, "--proc", "/proc");
        command.remove(command.size() - 1);
        command.addAll(WITH_MOUNTS);
        command.add("true");
        return command;
    }

    private static void requireWorking() {
        Sh.Result result = Sh.tryRun(probe(WITHOUT_PIDS, "--ro-bind", "/proc", "/proc"));
        if (result.code() == 0) {
            return;
        }
        String why = Sh.find("bwrap") == null
                ? "it is not installed (Debian, Ubuntu, Fedora: package bubblewrap)"
                : result.output().strip() + " (user namespaces must be allowed: as root,"
                        + " sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 user.max_user_namespaces=10000)";
        throw new Fatal("stand-in: bubblewrap does not work here: " + why);
    }

    List<String> command() {
        boolean pids = hasPrivatePids();
        if (!pids) {
            requireWorking();
        }
        List<String> c = new ArrayList<>(pids ? WITH_PIDS : WITHOUT_PIDS);
        c.addAll(List.of("--info-fd", "3", "--hostname", guest.hostname(), "--clearenv"));
        c.addAll(List.of("--ro-bind", "/usr", "/usr"));
        for (String directory : List.of("/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32", "/nix")) {
            showSystemDirectory(c, Path.of(directory));
        }
        c.addAll(pids ? List.of("--proc", "/proc") : List.of("--ro-bind", "/proc", "/proc"));
        c.addAll(List.of("--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run", "--tmpfs", "/home", "--dir", "/mnt"));
        Path disk = guest.disk();
        bind(c, disk.resolve("etc"), "/etc");
        bind(c, disk.resolve("var"), "/var");
        bind(c, disk.resolve("local"), "/usr/local");
        bind(c, disk.resolve("opt"), "/opt");
        bind(c, disk.resolve("srv"), "/srv");
        bind(c, disk.resolve("root"), "/root");
        bind(c, disk.resolve("home"), guest.config.user().get("home").toString());
        c.addAll(List.of("--ro-bind", guest.cidata().toString(), "/mnt/lima-cidata"));
        HostNode.show(c);
        for (Map<String, Object> mount : guest.config.mounts()) {
            if (MountQuirks.isLost(mount)) {
                existing(mount.get("location").toString());
                c.addAll(List.of("--dir", mount.get("mountPoint").toString()));
                continue;
            }
            c.add(Maps.flag(mount, "writable", false) ? "--bind" : "--ro-bind");
            c.add(existing(mount.get("location").toString()));
            c.add(mount.get("mountPoint").toString());
        }
        c.addAll(List.of("--chdir", "/"));
        if (pids && Sh.tryRun(canMount()).code() == 0) {
            c.addAll(WITH_MOUNTS);
        }
        c.addAll(List.of("/bin/sh", "/mnt/lima-cidata/boot.sh"));
        c.addAll(guest.title());
        return c;
    }

    private static void showSystemDirectory(List<String> c, Path directory) {
        try {
            if (Files.isSymbolicLink(directory)) {
                c.addAll(List.of("--symlink", Files.readSymbolicLink(directory).toString(), directory.toString()));
            } else if (Files.isDirectory(directory)) {
                c.addAll(List.of("--ro-bind", directory.toString(), directory.toString()));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void bind(List<String> c, Path from, String to) {
        c.addAll(List.of("--bind", from.toString(), to));
    }

    /** A mount's directory; one that does not exist is made on the host, as Lima does it. */
    private static String existing(String location) {
        Sh.makeDirectories(Path.of(location));
        return location;
    }
}
