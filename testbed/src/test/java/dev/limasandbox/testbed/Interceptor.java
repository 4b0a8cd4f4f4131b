package dev.limasandbox.testbed;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;

/**
 * A company's proxy on 127.0.0.1 that looks into TLS with certificates of its own authority. It reaches nothing: it
 * answers for hosts that do not exist ({@link #ANSWERS}), so that whoever gets an answer came through it and trusted it.
 */
final class Interceptor implements AutoCloseable {
    /** What is answered, by host and path; all else is not found. */
    private static final Map<String, String> ANSWERS = Map.of(
            "curl.test/hello", "hello of the proxy\n",
            "git.test/r.git/info/refs", "1234567890123456789012345678901234567890\trefs/heads/main\n",
            "npm.test/of-the-proxy", "{\"name\":\"of-the-proxy\",\"dist-tags\":{\"latest\":\"1.2.3\"},\"versions\":"
                    + "{\"1.2.3\":{\"name\":\"of-the-proxy\",\"version\":\"1.2.3\",\"dist\":{\"tarball\":\"\"}}}}",
            "apt.test/./Packages", """
                    Package: of-the-proxy
                    Version: 1.2.3
                    Architecture: all
                    Filename: none.deb
                    Size: 1
                    SHA256: 0123456789012345678901234567890123456789012345678901234567890123
                    """,
            "docker.test/v2/", "{}");

    /** Runs in a guest: each client has to come through, as root where it is meant for root. */
    static final String CLIENTS = """
            set -eu
            curl -fsS https://curl.test/hello
            git ls-remote https://git.test/r.git
            npm view --registry https://npm.test/ of-the-proxy version
            apt=$(mktemp -d)
            chmod 755 "$apt"
            mkdir -p "$apt/lists/partial"
            echo 'deb [trusted=yes] https://apt.test/ ./' >"$apt/proxy.list"
            only="-o Dir::Etc::SourceList=$apt/proxy.list -o Dir::Etc::SourceParts=- -o Dir::State::Lists=$apt/lists"
            sudo apt-get update $only -o APT::Update::Error-Mode=any >/dev/null
            apt-cache show $only of-the-proxy | grep Package
            """;

    /** What {@link #CLIENTS} print. */
    static final List<String> SEEN = List.of("hello of the proxy", "refs/heads/main", "1.2.3", "Package: of-the-proxy");

    final Path certificate;
    final Set<String> asked = new ConcurrentSkipListSet<>();
    private final SSLContext tls;
    private final ServerSocket server;

    Interceptor(Path directory) {
        try {
            certificate = directory.resolve("ca.pem");
            tls = authority(directory);
            server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        } catch (IOException | GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
        Thread accepting = new Thread(this::accept, "interceptor");
        accepting.setDaemon(true);
        accepting.start();
    }

    /** The environment of a host behind this proxy. */
    Map<String, String> environment() {
        String url = "http://127.0.0.1:" + server.getLocalPort();
        return Map.of("http_proxy", url, "https_proxy", url, "no_proxy", "localhost,127.0.0.1");
    }

    private SSLContext authority(Path directory) throws IOException, GeneralSecurityException {
        String store = directory.resolve("keys.p12").toString();
        String request = directory.resolve("leaf.csr").toString();
        String leaf = directory.resolve("leaf.pem").toString();
        String names = "san=dns:curl.test,dns:git.test,dns:npm.test,dns:apt.test,dns:docker.test";
        keytool(store, "-genkeypair", "-alias", "ca", "-keyalg", "RSA", "-dname", "CN=The company", "-ext", "bc:c");
        keytool(store, "-genkeypair", "-alias", "leaf", "-keyalg", "RSA", "-dname", "CN=curl.test");
        keytool(store, "-certreq", "-alias", "leaf", "-file", request);
        keytool(store, "-gencert", "-alias", "ca", "-infile", request, "-outfile", leaf, "-rfc", "-ext", names);
        keytool(store, "-exportcert", "-alias", "ca", "-rfc", "-file", certificate.toString());
        keytool(store, "-importcert", "-alias", "leaf", "-file", leaf, "-noprompt");
        keytool(store, "-delete", "-alias", "ca");
        KeyStore keys = KeyStore.getInstance("PKCS12");
        try (var in = Files.newInputStream(Path.of(store))) {
            keys.load(in, "changeit".toCharArray());
        }
        KeyManagerFactory managers = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        managers.init(keys, "changeit".toCharArray());
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(managers.getKeyManagers(), null, null);
        return context;
    }

    private static void keytool(String store, String... words) {
        List<String> command = new ArrayList<>(
                List.of(Path.of(System.getProperty("java.home"), "bin/keytool").toString()));
        command.addAll(List.of(words));
        command.addAll(List.of("-keystore", store, "-storepass", "changeit", "-storetype", "PKCS12"));
        Cli.start(Path.of("/"), System.getenv(), command).ends(Duration.ofMinutes(1)).exits(0);
    }

    private void accept() {
        while (!server.isClosed()) {
            try {
                Socket client = server.accept();
                Thread answering = new Thread(() -> answer(client), "interceptor's client");
                answering.setDaemon(true);
                answering.start();
            } catch (IOException closed) {
                return;
            }
        }
    }

    private void answer(Socket client) {
        try (client) {
            String[] first = head(client);
            if (first.length < 2 || !first[0].equals("CONNECT")) {
                return;
            }
            client.getOutputStream().write("HTTP/1.1 200 Connection established\r\n\r\n".getBytes(ISO_8859_1));
            String host = first[1].replaceAll(":.*", "");
            try (SSLSocket inside = (SSLSocket) tls.getSocketFactory().createSocket(client, host, 443, true)) {
                inside.setUseClientMode(false);
                for (String[] request = head(inside); request.length > 1; request = head(inside)) {
                    reply(inside.getOutputStream(), request[0], host + request[1].replaceAll("\\?.*", ""));
                }
            }
        } catch (IOException e) {
            asked.add("failed: " + e.getMessage());
        }
    }

    /** The connection stays open: apt takes a server that closes it behind an answer for a broken one. */
    private void reply(OutputStream out, String method, String path) throws IOException {
        asked.add(path);
        String found = ANSWERS.get(path.replace("apt.test/Packages", "apt.test/./Packages"));
        byte[] body = (found == null ? "nothing here\n" : found).getBytes(UTF_8);
        out.write(("HTTP/1.1 " + (found == null ? "404 Not Found" : "200 OK") + "\r\nContent-Type: text/plain"
                + "\r\nContent-Length: " + body.length + "\r\n\r\n").getBytes(ISO_8859_1));
        out.write(method.equals("HEAD") ? new byte[0] : body);
        out.flush();
    }

    /** Reads the head of a request, not a byte more; its first line's words, none at the connection's end. */
    private static String[] head(Socket socket) throws IOException {
        InputStream in = socket.getInputStream();
        StringBuilder head = new StringBuilder();
        while (head.indexOf("\r\n\r\n") < 0) {
            int c = in.read();
            if (c < 0) {
                return new String[]{};
            }
            head.append((char) c);
        }
        return head.substring(0, head.indexOf("\r\n")).split(" ");
    }

    @Override
    public void close() {
        try {
            server.close();
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }
}
