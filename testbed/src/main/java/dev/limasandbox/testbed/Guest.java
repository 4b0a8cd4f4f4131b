package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The pretend virtual machine: processes of the same user whose files are, on Linux, only what bubblewrap shows them.
 * What a guest's disk would hold lies in {@code _standin/NAME/disk}; it is kept over stop and start and copied by clone.
 */
final class Guest {
    /** What of the host's /etc programs need to run at all; the guest gets a copy of its own, which it may write. */
    private static final List<String> FROM_ETC = List.of(
            "alternatives", "bash.bashrc", "bashrc", "ca-certificates", "ca-certificates.conf", "crypto-policies",
            "debian_version", "fonts", "gai.conf", "inputrc", "java", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
            "locale.conf", "localtime", "login.defs", "magic", "maven", "mime.types", "networks", "npmrc", "os-release",
            "perl", "pki", "profile", "profile.d", "protocols", "python3", "services", "shells", "skel", "ssl", "terminfo",
            "timezone", "vim");
    private static final List<String> SHIMS = List.of("sudo", "mount", "umount", "mountpoint", "docker", "cloud-init");
    /** Taken from the host where it has them; scripts of a template look for them after the packages were installed. */
    private static final List<String> FROM_PACKAGES =
            List.of("dockerd", "dockerd-rootless.sh", "fdfind", "psql", "yq", "rg", "jq", "htop");

    private static final List<String> DO_NOTHING = List.of(
            "apt", "apt-get", "apt-mark", "add-apt-repository", "chown", "chgrp", "systemctl", "loginctl", "usermod",
            "useradd", "groupadd", "sysctl", "modprobe", "hostnamectl", "timedatectl", "update-ca-certificates",
            "locale-gen", "netplan", "growpart", "resize2fs", "fstrim", "setcap", "update-binfmts");

    private final Instance instance;
    private final Config config;
    private final Path state;
    private final Path disk;
    private final Path cidata;

    Guest(Instance instance, Config config) {
        this.instance = instance;
        this.config = config;
        this.state = stateOf(instance.name);
        this.disk = state.resolve("disk");
        this.cidata = state.resolve("cidata");
    }

    static Path stateOf(String name) {
        return Home.standIn().resolve(name);
    }

    /** Where the guest sees {@link #cidata}. */
    private String cidataInGuest() {
        return Home.MAC ? cidata.toString() : "/mnt/lima-cidata";
    }

    private String home() {
        return Home.MAC
                ? disk.resolve("home").toString()
                : config.user().get("home").toString();
    }

    private String user() {
        return Home.MAC ? System.getProperty("user.name") : config.user().get("name").toString();
    }

    /** The user that Lima's ssh.config names. */
    String login() {
        return user();
    }

    /**
     * Boots: puts the files in place and starts the guest's first process, whose output becomes serial.log. Gives that
     * process; its input takes the word {@code poweroff}.
     */
    Process boot(int sshPort) {
        makeDisk();
        makeCidata(sshPort);
        List<String> command = new ArrayList<>();
        if (Home.MAC) {
            command.addAll(List.of("/bin/sh", cidata.resolve("boot.sh").toString()));
        } else {
            Path info = state.resolve("info.json");
            Sh.remove(info);
            command.addAll(List.of("sh", "-c", "exec \"$@\" 3>" + Sh.quote(info.toString()), "sh"));
            command.addAll(new Bubblewrap(this).command());
        }
        try {
            return new ProcessBuilder(command)
                    .redirectErrorStream(true)
                    .redirectOutput(instance.file("serial.log").toFile())
                    .start();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The process whose end is the end of the guest: what {@code qemu.pid} names. */
    long driverPid(Process booted) {
        if (Home.MAC) {
            return booted.pid();
        }
        Pattern childPid = Pattern.compile("\"child-pid\": (\\d+)");
        for (int i = 0; i < 500 && booted.isAlive(); i++) {
            Matcher found = childPid.matcher(Sh.readOr(state.resolve("info.json"), ""));
            if (found.find()) {
                return Long.parseLong(found.group(1));
            }
            HostAgent.pause(10);
        }
        throw new Fatal("the guest did not start: " + Sh.readOr(instance.file("serial.log"), "").strip());
    }

    // --- what lies on the disk ---

    private void makeDisk() {
        boolean first = !Files.exists(disk);
        Sh.makeDirectories(disk);
        if (first) {
            for (String directory : List.of(
                    "home", "root", "opt", "srv", "etc/ssh/sshd_config.d", "etc/profile.d", "etc/apt/sources.list.d",
                    "etc/apt/keyrings", "etc/systemd/system", "etc/systemd/user", "etc/sysctl.d", "local/bin", "local/lib", "local/share", "local/sbin",
                    "var/log", "var/tmp", "var/lib", "var/cache", "var/mail", "var/spool")) {
                Sh.makeDirectories(disk.resolve(directory));
            }
            copyFromEtc();
            copySkeleton();
            Sh.run("ln", "-s", "../run", disk.resolve("var/run").toString());
        }
        writeIdentity();
    }

    private void copyFromEtc() {
        for (String name : FROM_ETC) {
            if (Files.exists(Path.of("/etc", name))) {
                // Unreadable files in it are left out.
                Sh.tryRun("cp", "-R", "-P", "-p", "/etc/" + name, disk.resolve("etc").toString() + "/");
            }
        }
        try (var entries = Files.newDirectoryStream(Path.of("/etc"), "java-*")) {
            for (Path entry : entries) {
                Sh.tryRun("cp", "-R", "-P", "-p", entry.toString(), disk.resolve("etc").toString() + "/");
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        Sh.tryRun("chmod", "-R", "u+rwX", disk.resolve("etc").toString());
    }

    private void copySkeleton() {
        for (String file : List.of(".profile", ".bashrc", ".bash_logout")) {
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
        Path etc = disk.resolve("etc");
        String host = Instance.hostname(instance.name);
        int uid = Home.uid();
        Sh.write(etc.resolve("hostname"), host + "\n", "rw-r--r--");
        Sh.write(etc.resolve("hosts"), "127.0.0.1 localhost host.lima.internal host.docker.internal " + host + "\n::1 localhost\n", "rw-r--r--");
        Sh.write(
                etc.resolve("passwd"),
                "root:x:0:0:root:/root:/bin/bash\n" + user() + ":x:" + uid + ":" + uid + "::" + home() + ":/bin/bash\n"
                        + "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
                "rw-r--r--");
        // No group tty: sshd would give the terminal to it, which an ordinary user may not do, and close the connection.
        Sh.write(etc.resolve("group"), "root:x:0:\n" + user() + ":x:" + uid + ":\nnogroup:x:65534:\n", "rw-r--r--");
        Sh.write(etc.resolve("nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n", "rw-r--r--");
        Sh.write(etc.resolve("resolv.conf"), Sh.readOr(Path.of("/etc/resolv.conf"), ""), "rw-r--r--");
        if (!Files.exists(etc.resolve("machine-id"))) {
            Sh.write(etc.resolve("machine-id"), java.util.UUID.randomUUID().toString().replace("-", "") + "\n", "rw-r--r--");
        }
        Sh.write(
                etc.resolve("profile.d/zz-standin.sh"),
                "PATH=" + cidataInGuest() + "/bin:$HOME/.npm-global/bin:$PATH\n",
                "rw-r--r--");
    }

    // --- what Lima hands to the guest on a CD: made anew on every boot ---

    private void makeCidata(int sshPort) {
        Sh.remove(cidata);
        Sh.makeDirectories(cidata.resolve("bin"));
        Path hostKey = state.resolve("ssh_host_ed25519_key");
        if (!Files.exists(hostKey)) {
            Sh.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", hostKey.toString());
        }
        copy(hostKey, cidata.resolve("ssh_host_ed25519_key"));
        copy(Path.of(Home.identity() + ".pub"), cidata.resolve("authorized_keys"));
        for (String shim : SHIMS) {
            resource("bin/" + shim, cidata.resolve("bin").resolve(shim));
        }
        for (String shim : DO_NOTHING) {
            resource("bin/nothing", cidata.resolve("bin").resolve(shim));
        }
        for (String shim : FROM_PACKAGES) {
            if (Sh.find(shim) == null) {
                resource("bin/absent", cidata.resolve("bin").resolve(shim));
            }
        }
        for (String shim : List.of("poweroff", "reboot", "shutdown", "halt")) {
            resource("bin/poweroff", cidata.resolve("bin").resolve(shim));
        }
        resource("dockerd.pl", cidata.resolve("dockerd.pl"));
        HostNode.linkInto(cidata.resolve("bin"));
        Sh.write(cidata.resolve("sshd_config"), sshdConfig(sshPort), "rw-r--r--");
        StringBuilder mounts = new StringBuilder();
        config.mounts().forEach(mount -> mounts.append(mount.get("mountPoint")).append('\n'));
        Sh.write(cidata.resolve("mounts"), mounts.toString(), "rw-r--r--");
        StringBuilder param = new StringBuilder();
        config.param().forEach((key, value) -> param.append("PARAM_" + key + "=" + value + "\n"));
        Sh.write(cidata.resolve("param.env"), param.toString(), "rw-r--r--");
        resource("boot.sh", cidata.resolve("lib.sh"));
        Sh.write(cidata.resolve("boot.sh"), bootScript(), "rwxr-xr-x");
    }

    private String sshdConfig(int port) {
        StringBuilder environment = new StringBuilder();
        environment().forEach((key, value) -> environment.append(" \"" + key + "=" + value.replace("\"", "\\\"") + "\""));
        return String.join(
                "\n",
                "ListenAddress 127.0.0.1",
                "Port " + port,
                "HostKey " + quoted(cidataInGuest() + "/ssh_host_ed25519_key"),
                "AuthorizedKeysFile " + quoted(cidataInGuest() + "/authorized_keys"),
                "PidFile none",
                "UsePAM no",
                "StrictModes no",
                "PasswordAuthentication no",
                "PrintMotd no",
                "PrintLastLog no",
                "LogLevel ERROR",
                "AcceptEnv *",
                "MaxSessions 1000",
                "MaxStartups 1000",
                "Subsystem sftp internal-sftp",
                "SetEnv" + environment,
                Home.MAC ? "ForceCommand " + quoted(cidataInGuest() + "/bin/session") : "",
                "");
    }

    private static String quoted(String path) {
        return "\"" + path + "\"";
    }

    /** What every session and script of the guest finds in its environment. */
    private Map<String, String> environment() {
        Map<String, String> environment = new LinkedHashMap<>();
        environment.put(
                "PATH",
                cidataInGuest() + "/bin:" + home()
                        + "/.npm-global/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        environment.put("NPM_CONFIG_PREFIX", home() + "/.npm-global");
        environment.put("XDG_RUNTIME_DIR", run() + "/user/" + Home.uid());
        environment.put("STANDIN_CIDATA", cidataInGuest());
        environment.put("STANDIN_RUN", run());
        if (Home.MAC) {
            environment.put("HOME", home());
        }
        environment.putAll(HostNode.environment());
        config.environment().forEach((key, value) -> environment.put(key, String.valueOf(value)));
        return environment;
    }

    private String run() {
        return Home.MAC ? state.resolve("run").toString() : "/run";
    }

    private String bootScript() {
        StringBuilder script = new StringBuilder("#!/bin/sh\n");
        environment().forEach((key, value) -> script.append("export " + key + "=" + Sh.quote(value) + "\n"));
        Map<String, String> lima = new LinkedHashMap<>();
        lima.put("LIMA_CIDATA_MNT", cidataInGuest());
        lima.put("LIMA_CIDATA_NAME", instance.name);
        lima.put("LIMA_CIDATA_USER", user());
        lima.put("LIMA_CIDATA_UID", String.valueOf(Home.uid()));
        lima.put("LIMA_CIDATA_HOME", home());
        lima.put("LIMA_CIDATA_HOSTHOME_MOUNTPOINT", "");
        lima.forEach((key, value) -> script.append("export " + key + "=" + Sh.quote(value) + "\n"));
        config.param().forEach((key, value) -> script.append("export PARAM_" + key + "=" + Sh.quote(value.toString()) + "\n"));
        script.append("SSHD=" + Sh.quote(sshd()) + "\n");
        script.append("PRIVATE_PIDS=" + (!Home.MAC && Bubblewrap.hasPrivatePids() ? "1" : "") + "\n");
        Matcher version = Pattern.compile("agent-sandbox (\\d+)").matcher(config.shown().toString());
        script.append("AGENT_SANDBOX=" + (config.shown().toString().contains("/run/sandbox") ? version.find() ? version.group(1) : "1" : "") + "\n");
        script.append(". " + Sh.quote(cidataInGuest() + "/lib.sh") + "\n");
        script.append("begin\n");
        for (Map<String, Object> forward : config.portForwards()) {
            if (Maps.text(forward, "guestSocket", "").endsWith("docker.sock")) {
                script.append("docker_socket " + Sh.quote(forward.get("guestSocket").toString()) + "\n");
            }
        }
        for (String mode : List.of("boot", "dependency", "data", "yq", "system", "user")) {
            appendScripts(script, mode);
        }
        return script.append("finish\n").toString();
    }

    /** The scripts of one mode; their number counts over all modes, as Lima's does. */
    private void appendScripts(StringBuilder script, String mode) {
        List<Map<String, Object>> all = config.provision();
        for (int i = 0; i < all.size(); i++) {
            Map<String, Object> entry = all.get(i);
            if (!entry.get("mode").equals(mode)) {
                continue;
            }
            String number = String.format("%08d", i);
            String relative = "provision." + mode + "/" + number;
            String text = Maps.text(entry, mode.equals("data") ? "content" : "script", "");
            Sh.write(cidata.resolve(relative), text, "rwxr-xr-x");
            if (mode.equals("data")) {
                script.append("data " + relative + " " + Sh.quote(Maps.text(entry, "path", "")) + " "
                        + Sh.quote(Maps.text(entry, "permissions", "644")) + " " + Maps.flag(entry, "overwrite", true) + "\n");
            } else if (mode.equals("yq") || text.contains("apt-get") && !text.contains("PARAM_sandbox")) {
                script.append("taken_as_done " + relative + "\n");
            } else {
                script.append("run " + mode + " " + relative + "\n");
            }
        }
    }

    private static String sshd() {
        Path sshd = Sh.find("sshd");
        if (sshd == null) {
            throw new Fatal("stand-in: no sshd on this machine (Debian, Ubuntu: package openssh-server)");
        }
        return sshd.toString();
    }

    private static void copy(Path from, Path to) {
        try {
            Files.copy(from, to, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.COPY_ATTRIBUTES);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void resource(String name, Path to) {
        try (InputStream in = Guest.class.getResourceAsStream("/guest/" + name)) {
            Sh.write(to, new String(in.readAllBytes(), java.nio.charset.StandardCharsets.UTF_8), "rwxr-xr-x");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    // --- what bubblewrap shows ---

    Config config() {
        return config;
    }

    Path disk() {
        return disk;
    }

    Path cidata() {
        return cidata;
    }

    String hostname() {
        return Instance.hostname(instance.name);
    }
}
