package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The pretended virtual machine: processes of the same user whose files are, on Linux, only what bubblewrap shows them.
 * On macOS, which has nothing of that kind, it is the host itself with another home directory.
 */
final class Guest {
    final Instance instance;
    final Config config;

    Guest(Instance instance, Config config) {
        this.instance = instance;
        this.config = config;
    }

    /** All that the stand-in keeps of one instance, beside Lima's own directory of it. */
    static Path stateOf(String name) {
        return Home.standIn().resolve(name);
    }

    Path state() {
        return stateOf(instance.name);
    }

    /** The host's directory with what a guest's disk would hold; kept over stop and start, copied by clone. */
    Path disk() {
        return state().resolve("disk");
    }

    /** The host's directory with what Lima hands to the guest on a CD; made anew on every boot. */
    Path cidata() {
        return state().resolve("cidata");
    }

    /** Where the guest sees {@link #cidata}. */
    String cidataInside() {
        return Home.MAC ? cidata().toString() : "/mnt/lima-cidata";
    }

    /** The guest's /run, as it sees it. */
    String run() {
        return Home.MAC ? state().resolve("run").toString() : "/run";
    }

    String home() {
        return Home.MAC
                ? disk().resolve("home").toString()
                : config.user().get("home").toString();
    }

    String user() {
        return Home.MAC
                ? System.getProperty("user.name")
                : config.user().get("name").toString();
    }

    String hostname() {
        return Instance.hostname(instance.name);
    }

    /** What every session and script of the guest finds in its environment. */
    Map<String, String> environment() {
        Map<String, String> environment = new LinkedHashMap<>();
        environment.put(
                "PATH",
                cidataInside() + "/bin:" + home()
                        + "/.npm-global/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        environment.put("NPM_CONFIG_PREFIX", home() + "/.npm-global");
        environment.put("XDG_RUNTIME_DIR", run() + "/user/" + Home.uid());
        environment.put("STANDIN_CIDATA", cidataInside());
        environment.put("STANDIN_RUN", run());
        if (Home.MAC) {
            environment.put("HOME", home());
        }
        config.environment().forEach((key, value) -> environment.put(key, String.valueOf(value)));
        // The guest's certificates are the host's files, wherever these are.
        environment.remove("NODE_EXTRA_CA_CERTS");
        environment.putAll(HostNode.environment());
        return environment;
    }

    /**
     * Boots: puts the files in place and starts the guest's first process, whose output becomes serial.log. Gives that
     * process; its input takes the word {@code poweroff}.
     */
    Process boot(int sshPort) {
        new DiskFiles(instance).settle(true);
        new GuestDisk(this).make();
        new Cidata(this).make(sshPort);
        List<String> command = new ArrayList<>();
        if (Home.MAC) {
            Sh.remove(Path.of(run()));
            command.addAll(List.of("/bin/sh", cidata().resolve("boot.sh").toString()));
            command.addAll(title());
        } else {
            Sh.remove(info());
            command.addAll(List.of("sh", "-c", "exec \"$@\" 3>" + Sh.quote(info().toString()), "sh"));
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

    /** What a list of processes shows of the guest's first one, as of QEMU; the boot script takes no arguments. */
    List<String> title() {
        return List.of("-name", "lima-" + instance.name);
    }

    /** Where bubblewrap writes the number of the guest's first process. */
    private Path info() {
        return state().resolve("info.json");
    }

    /** The process whose end is the end of the guest: what {@code qemu.pid} names. */
    long driverPid(Process booted) {
        if (Home.MAC) {
            return booted.pid();
        }
        Pattern childPid = Pattern.compile("\"child-pid\": (\\d+)");
        for (int i = 0; i < 500 && booted.isAlive(); i++) {
            Matcher found = childPid.matcher(Sh.readOr(info(), ""));
            if (found.find()) {
                return Long.parseLong(found.group(1));
            }
            HostAgent.pause(10);
        }
        String why = Sh.readOr(instance.file("serial.log"), "").strip();
        throw new Fatal("the guest did not start: " + why);
    }
}
