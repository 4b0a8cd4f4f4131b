package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What Lima hands to a guest on a CD, for one boot: keys, the provision scripts, the script that runs them. Here also
 * the settings of its sshd, and in bin/ programs that come first on the guest's PATH.
 */
final class Cidata {
    private static final List<String> SHIMS = words("sudo mount umount mountpoint docker cloud-init session");

    /** Programs that would change the machine. */
    private static final List<String> DO_NOTHING = words("apt apt-get apt-mark add-apt-repository chown chgrp systemctl"
            + " loginctl usermod useradd groupadd sysctl modprobe hostnamectl timedatectl update-ca-certificates"
            + " systemd-escape lima-guestagent locale-gen netplan growpart resize2fs fstrim setcap update-binfmts");

    /** Programs that the project's template installs; a later script of it may look whether they are there. */
    private static final List<String> FROM_PACKAGES = words("dockerd dockerd-rootless.sh fdfind psql yq rg jq htop");

    private static final List<String> POWER_OFF = words("poweroff reboot shutdown halt");

    private final Guest guest;
    private final Config config;
    private final Path directory;

    Cidata(Guest guest) {
        this.guest = guest;
        this.config = guest.config;
        this.directory = guest.cidata();
    }

    private static List<String> words(String text) {
        return List.of(text.split(" "));
    }

    void make(int sshPort) {
        Sh.remove(directory);
        Sh.makeDirectories(directory.resolve("bin"));
        makeKeys();
        makePrograms();
        write("sshd_config", sshdConfig(sshPort));
        StringBuilder mounts = new StringBuilder();
        config.mounts().forEach(mount -> mounts.append(mount.get("mountPoint")).append('\n'));
        write("mounts", mounts.toString());
        StringBuilder param = new StringBuilder();
        config.param().forEach((key, value) -> param.append("PARAM_" + key + "=" + value + "\n"));
        write("param.env", param.toString());
        resource("boot.sh", "lib.sh");
        write("boot.sh", bootScript());
    }

    private void makeKeys() {
        Path hostKey = guest.state().resolve("ssh_host_ed25519_key");
        if (!Files.exists(hostKey)) {
            Sh.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", hostKey.toString());
        }
        copy(hostKey, "ssh_host_ed25519_key");
        copy(Path.of(Home.identity() + ".pub"), "authorized_keys");
    }

    private void makePrograms() {
        SHIMS.forEach(name -> resource("bin/" + name, "bin/" + name));
        DO_NOTHING.forEach(name -> resource("bin/nothing", "bin/" + name));
        POWER_OFF.forEach(name -> resource("bin/poweroff", "bin/" + name));
        for (String name : FROM_PACKAGES) {
            if (Sh.find(name) == null) {
                resource("bin/absent", "bin/" + name);
            }
        }
        resource("dockerd.pl", "dockerd.pl");
        HostNode.linkInto(directory.resolve("bin"));
    }

    private String sshdConfig(int port) {
        StringBuilder environment = new StringBuilder();
        guest.environment()
                .forEach((key, value) -> environment.append(" \"" + key + "=" + value.replace("\"", "\\\"") + "\""));
        String inside = guest.cidataInside();
        return String.join(
                "\n",
                "ListenAddress 127.0.0.1",
                "Port " + port,
                "HostKey \"" + inside + "/ssh_host_ed25519_key\"",
                "AuthorizedKeysFile \"" + inside + "/authorized_keys\"",
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
                Home.MAC ? "ForceCommand \"" + inside + "/bin/session\"" : "",
                "");
    }

    // --- the boot script ---

    private String bootScript() {
        StringBuilder script = new StringBuilder("#!/bin/sh\n");
        Map<String, String> exported = new LinkedHashMap<>(guest.environment());
        exported.put("LIMA_CIDATA_MNT", guest.cidataInside());
        exported.put("LIMA_CIDATA_NAME", guest.instance.name);
        exported.put("LIMA_CIDATA_USER", guest.user());
        exported.put("LIMA_CIDATA_UID", String.valueOf(Home.uid()));
        exported.put("LIMA_CIDATA_HOME", guest.home());
        config.param().forEach((key, value) -> exported.put("PARAM_" + key, value.toString()));
        exported.forEach((key, value) -> script.append("export " + key + "=" + Sh.quote(value) + "\n"));
        script.append("SSHD=" + Sh.quote(sshd()) + "\n");
        boolean firstBoot = !Files.exists(guest.disk().resolve("var/lib/standin-booted"));
        script.append("NO_SSH=" + (MountQuirks.keepsSshAway(config, firstBoot) ? "1" : "") + "\n");
        script.append("PRIVATE_PIDS=" + (!Home.MAC && Bubblewrap.hasPrivatePids() ? "1" : "") + "\n");
        script.append("AGENT_SANDBOX=" + agentSandboxVersion() + "\n");
        script.append(". " + Sh.quote(guest.cidataInside() + "/lib.sh") + "\n");
        script.append("begin\n").append(Faults.inGuest());
        for (Map<String, Object> forward : config.portForwards()) {
            String socket = Maps.text(forward, "guestSocket", "");
            if (socket.endsWith("docker.sock")) {
                script.append("docker_socket " + Sh.quote(socket) + "\n");
            }
        }
        for (String mode : words("boot dependency data yq system user")) {
            appendScripts(script, mode);
        }
        return script.append("finish\n").toString();
    }

    /** The version that the project's template writes into its marker; empty for other templates. */
    private String agentSandboxVersion() {
        String all = config.shown().toString();
        Matcher version = Pattern.compile("agent-sandbox (\\d+)").matcher(all);
        return !all.contains("/run/sandbox") ? "" : version.find() ? version.group(1) : "1";
    }

    /** The scripts of one mode; their number counts over all modes, as Lima's does. */
    private void appendScripts(StringBuilder script, String mode) {
        List<Map<String, Object>> all = config.provision();
        for (int i = 0; i < all.size(); i++) {
            Map<String, Object> entry = all.get(i);
            if (!entry.get("mode").equals(mode)) {
                continue;
            }
            String file = "provision." + mode + "/" + String.format("%08d", i);
            String text = Maps.text(entry, mode.equals("data") ? "content" : "script", "");
            write(file, text);
            if (isTakenAsDone(mode, text)) {
                script.append(Faults.packages("taken_as_done " + file + "\n"));
            } else if (mode.equals("data")) {
                String path = Sh.quote(Maps.text(entry, "path", ""));
                String permissions = Maps.text(entry, "permissions", "644");
                script.append("data " + file + " " + path + " " + permissions + " "
                        + Maps.flag(entry, "overwrite", true) + "\n");
            } else {
                script.append("run " + mode + " " + file + "\n");
            }
        }
    }

    /** What installs packages is not run; on macOS nothing is, save the one script that sandbox.java adds. */
    private static boolean isTakenAsDone(String mode, String text) {
        boolean added = text.contains("PARAM_sandbox");
        return mode.equals("yq") || (!added && (Home.MAC || text.contains("apt-get")));
    }

    private static String sshd() {
        Path sshd = Sh.find("sshd");
        if (sshd == null) {
            throw new Fatal("stand-in: no sshd on this machine (Debian, Ubuntu: package openssh-server)");
        }
        return sshd.toString();
    }

    // --- files ---

    private void write(String name, String text) {
        Sh.write(directory.resolve(name), text, "rwxr-xr-x");
    }

    private void copy(Path from, String name) {
        try {
            Files.copy(from, directory.resolve(name), StandardCopyOption.COPY_ATTRIBUTES);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void resource(String name, String to) {
        try (InputStream in = Cidata.class.getResourceAsStream("/guest/" + name)) {
            write(to, new String(in.readAllBytes(), StandardCharsets.UTF_8));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
