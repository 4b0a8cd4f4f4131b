package dev.limasandbox.testbed;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;

/**
 * A server of Lima's releases, laid out as the real ones: PATH/vX/lima-X-Linux-ARCH.tar.gz and SHA256SUMS. It is a proxy
 * too, which answers for every host. One of its files can be broken on purpose.
 */
final class Releases implements AutoCloseable {
    private final HttpServer server;
    private final Map<String, byte[]> files = new ConcurrentHashMap<>();
    private final CountDownLatch closed = new CountDownLatch(1);
    /** What was asked for, as it stood in the request: a whole address where this served as a proxy. */
    final List<String> asked = Collections.synchronizedList(new ArrayList<>());
    /** The end of a file's name that is sent in part only. */
    volatile String truncated = "none";
    /** The end of a file's name whose second half never comes. */
    volatile String stuck = "none";

    Releases() {
        try {
            server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        server.setExecutor(Executors.newCachedThreadPool(work -> {
            Thread thread = new Thread(work);
            thread.setDaemon(true);
            return thread;
        }));
        server.createContext("/", this::answer);
        server.start();
    }

    private void answer(HttpExchange exchange) throws IOException {
        asked.add(exchange.getRequestURI().toString());
        String path = exchange.getRequestURI().getPath();
        byte[] content = files.get(path);
        if (content == null) {
            exchange.sendResponseHeaders(404, -1);
        } else {
            exchange.sendResponseHeaders(200, content.length);
            boolean part = path.endsWith(truncated) || path.endsWith(stuck);
            exchange.getResponseBody().write(content, 0, part ? content.length / 2 : content.length);
            exchange.getResponseBody().flush();
            if (path.endsWith(stuck)) {
                try {
                    closed.await();
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
            }
        }
        exchange.close();
    }

    int port() {
        return server.getAddress().getPort();
    }

    String address() {
        return "http://127.0.0.1:" + port() + "/releases";
    }

    /** The content of a file of a release; null takes it away. */
    Releases file(String version, String name, byte[] content) {
        if (content == null) {
            files.remove("/releases/v" + version + "/" + name);
        } else {
            files.put("/releases/v" + version + "/" + name, content);
        }
        return this;
    }

    Releases file(String version, String name, String content) {
        return file(version, name, content.getBytes(StandardCharsets.UTF_8));
    }

    /** A release whose limactl is this shell script. */
    Releases release(String version, String machine, String limactl) {
        String name = "lima-" + version + "-Linux-" + machine + ".tar.gz";
        try {
            Path tree = Files.createTempDirectory("release");
            World.executable(tree.resolve("t/bin/limactl"), limactl);
            World.executable(tree.resolve("t/bin/lima"), "#!/bin/sh\nexec limactl shell default \"$@\"\n");
            World.write(tree.resolve("t/share/lima/lima-guestagent.Linux-" + machine + ".gz"), "agent of " + version);
            World.write(tree.resolve("t/share/lima/templates/default.yaml"), "{}\n");
            World.write(tree.resolve("t/libexec/lima/lima-driver-x"), "x");
            Process tar = new ProcessBuilder("tar", "-C", tree.resolve("t").toString(), "-czf",
                    tree.resolve("a").toString(), "./").inheritIO().start();
            if (tar.waitFor() != 0) {
                throw new AssertionError("tar failed");
            }
            byte[] archive = Files.readAllBytes(tree.resolve("a"));
            World.remove(tree);
            file(version, name, archive);
            return file(version, "SHA256SUMS", "0".repeat(64) + "  lima-" + version + "-Darwin-arm64.tar.gz\n"
                    + digest(archive) + "  " + name + "\n");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    private static String digest(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    @Override
    public void close() {
        closed.countDown();
        server.stop(0);
    }
}
