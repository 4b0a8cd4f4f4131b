package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.util.LinkedHashSet;
import java.util.Set;

/**
 * Makes the stand-in fail where a test wants it, in a way that was seen on Lima 2.2.0. Wanted are words
 * {@code POINT:KIND} in the file {@code $LIMA_HOME/_faults} or the variable LIMA_FAULTS, read anew at each point.
 *
 * <p>Kinds that every point has: {@code fail} (exit 1), {@code slow} (three seconds), {@code hang} (until somebody ends
 * it, or the word goes), {@code kill} (its process gets SIGKILL). {@code _faults.reached} has the last one that was
 * reached. The points:
 *
 * <ul>
 * <li>{@code list}, {@code stop}, {@code start}: at the beginning of the command; of {@code start} before there is a host
 * agent. Stop fails where the host agent's last event was lost: exit 1, though the machine is down, 6b of the observed
 * facts
 * <li>{@code create}: when the image is being copied. What stays is a lima.yaml, and an image of full length with little
 * in it, listed as Stopped (5)
 * <li>{@code clone}, {@code rename}: before the disk is copied. What stays has no lima.yaml, is listed as Broken, and
 * {@code delete -f} refuses it (5)
 * <li>{@code delete}: when lima.yaml is gone already
 * <li>{@code agent}: the host agent, before its pid file is there; {@code driver}: the host agent, before the machine;
 * {@code booted}: the host agent, once the machine runs. Killed here it leaves the machine, and list says Broken (5c)
 * <li>{@code boot}: the guest, before its scripts; killed, the machine is gone; {@code boot:panic}, its kernel's last
 * words are on the console, and then it is silent (seen now and then with several emulated processors)
 * <li>{@code shutdown}: the host agent, when the machine is off already: Broken for that time
 * </ul>
 *
 * <p>And single ones: {@code start:degraded} (a running event with degraded, exit 1; it comes after 753 s on Lima, at
 * once here, 1b), {@code start:probe-never} (no running event: exit 1 after the time-out, and the VM lives on, 1b),
 * {@code start:script-fails} (a script of ours fails: exit 0 as far as Lima knows, 1), {@code agent:dumb} (its socket
 * answers nobody: Broken though all runs, 6b).
 */
final class Faults {
    private static final int SLOW = 3000;
    private static final int BETWEEN_LOOKS = 100;

    private Faults() {}

    /** Is this fault wanted now? */
    static boolean wanted(String point, String kind) {
        return all().contains(point + ":" + kind);
    }

    private static Set<String> all() {
        Set<String> all = new LinkedHashSet<>();
        for (String text : new String[]{Sh.readOr(Home.directory().resolve("_faults"), ""),
                System.getenv().getOrDefault("LIMA_FAULTS", "")}) {
            for (String word : text.split("[\\s,]+")) {
                all.add(word);
            }
        }
        return all;
    }

    /** Does at a point what is wanted there; {@code left} makes what an interruption at this point leaves. */
    static void at(String point, Runnable left) {
        if (wanted(point, "slow")) {
            HostAgent.pause(SLOW);
        }
        for (String kind : new String[]{"fail", "hang", "kill"}) {
            if (wanted(point, kind)) {
                left.run();
                Sh.write(Home.directory().resolve("_faults.reached"), point + ":" + kind, "rw-------");
                end(point, kind);
            }
        }
    }

    static void at(String point) {
        at(point, () -> {});
    }

    private static void end(String point, String kind) {
        switch (kind) {
            case "fail" -> throw new Fatal("stand-in: " + point + " fails, as it was told to");
            case "kill" -> {
                Sh.tryRun("kill", "-KILL", "" + ProcessHandle.current().pid());
                HostAgent.pause(SLOW);
            }
            default -> {
                while (wanted(point, kind)) {
                    HostAgent.pause(BETWEEN_LOOKS);
                }
            }
        }
    }

    /** The image of a create that was interrupted: full length, hardly written. */
    static void partialImage(Instance instance) {
        try (RandomAccessFile image = new RandomAccessFile(instance.file("image").toFile(), "rw")) {
            image.setLength(1L << 30);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static void withoutYaml(Instance instance) {
        try {
            Files.deleteIfExists(instance.yaml());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Lines of the boot script for what is wanted of the guest. */
    static String inGuest() {
        StringBuilder script = new StringBuilder();
        if (wanted("boot", "slow")) {
            script.append("sleep 3 & wait $!\n");
        }
        if (wanted("boot", "hang")) {
            script.append("while :; do sleep 60 & wait $!; done\n");
        }
        if (wanted("boot", "panic")) {
            script.append("echo '[    1.705752] Kernel panic - not syncing: Fatal exception in interrupt'\n")
                    .append("while :; do sleep 60 & wait $!; done\n");
        }
        if (wanted("boot", "kill")) {
            script.append("sleep 1 & wait $!\nexit 1\n");
        }
        return script.toString();
    }

    /** The line of the boot script in place of the one script that installs packages. */
    static String packages(String takenAsDone) {
        return !wanted("start", "script-fails") ? takenAsDone : """
                echo 'E: no network, as the stand-in was told to' >>"$log"
                echo 'packages: exit code 100' >"$STANDIN_RUN/sandbox/failed"
                """;
    }
}
