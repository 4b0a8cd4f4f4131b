package dev.limasandbox.testbed;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * QEMU's monitor on qmp.sock, as far as it is asked here: whether the machine is paused, and to let it go on. One caller at
 * a time, as with QEMU. It lives in the host agent, and dies with it; QEMU's own dies with the machine.
 */
final class Monitor {
    private final Instance instance;

    private Monitor(Instance instance) {
        this.instance = instance;
    }

    static void open(Instance instance) {
        Path socket = instance.file("qmp.sock");
        try {
            Files.deleteIfExists(socket);
            ServerSocketChannel channel = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
            channel.bind(UnixDomainSocketAddress.of(socket));
            HostAgent.inBackground(() -> new Monitor(instance).serve(channel));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void serve(ServerSocketChannel server) {
        while (server.isOpen()) {
            try (SocketChannel caller = server.accept()) {
                say(caller, "{\"QMP\": {\"version\": {}, \"capabilities\": []}}");
                BufferedReader lines = new BufferedReader(Channels.newReader(caller, StandardCharsets.UTF_8));
                for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                    say(caller, "{\"return\": " + answer(Maps.text(Yaml.readMap(line), "execute", "")) + "}");
                }
            } catch (IOException e) {
                Log.debug("qmp: " + e); // that caller went away
            }
        }
    }

    private static void say(SocketChannel caller, String text) throws IOException {
        caller.write(StandardCharsets.UTF_8.encode(text + "\r\n"));
    }

    private String answer(String command) {
        if (command.equals("cont")) {
            Stream.concat(guest().stream(), guest().stream().flatMap(ProcessHandle::descendants))
                    .forEach(process -> Sh.tryRun("kill", "-CONT", String.valueOf(process.pid())));
        }
        return !command.equals("query-status") ? "{}" : isPaused()
                ? "{\"status\": \"paused\", \"singlestep\": false, \"running\": false}"
                : "{\"status\": \"running\", \"singlestep\": false, \"running\": true}";
    }

    private List<ProcessHandle> guest() {
        return ProcessHandle.of(instance.driverPid()).stream().toList();
    }

    private boolean isPaused() {
        return Sh.tryRun("ps", "-o", "stat=", "-p", String.valueOf(instance.driverPid())).output().startsWith("T");
    }
}
