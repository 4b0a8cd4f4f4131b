package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Each script, copied alone, under the real JBang; and the catalogs, from a server. */
class JBangTest {
    private static final Path JBANG = Programs.ROOT.resolve("scripts/target/jbang/jbang.jar");

    @TempDir
    private static Path temporary;

    private static HttpServer server;

    @BeforeAll
    static void serve() throws IOException {
        assertTrue(Files.exists(JBANG), JBANG + " is missing; Maven fetches it before the tests");
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/", exchange -> {
            Path file = Programs.ROOT
                    .resolve(exchange.getRequestURI().getPath().substring(1))
                    .normalize();
            if (file.startsWith(Programs.ROOT) && Files.isRegularFile(file)) {
                byte[] content = Files.readAllBytes(file);
                exchange.sendResponseHeaders(200, content.length);
                exchange.getResponseBody().write(content);
            } else {
                exchange.sendResponseHeaders(404, -1);
            }
            exchange.close();
        });
        server.start();
    }

    @AfterAll
    static void stop() {
        server.stop(0);
    }

    /** JBang knows a build again by its text, so what was built from a copy alone need not be built for the alias. */
    @TestFactory
    Stream<DynamicTest> eachScriptBuildsAloneAndItsAliasRunsFromAServer() {
        return Programs.scripts().stream().map(script -> {
            String file = script.getFileName().toString();
            String name = file.replace(".java", "");
            return DynamicTest.dynamicTest(file, () -> {
                Path folder = Files.createTempDirectory(temporary, "alone");
                Files.copy(script, folder.resolve(file));
                jbang(folder, "build", file).exits(0);
                String help = run(folder, "run", name + "@" + url("catalog.json"), "--help").exits(0).out();
                assertTrue(help.contains("Usage: " + name), help);
            });
        });
    }

    private static String url(String file) {
        return "http://localhost:" + server.getAddress().getPort() + "/" + file;
    }

    @Test
    void catalogsWorkFromAServer() throws IOException {
        Path folder = Files.createTempDirectory(temporary, "user");
        String help = run(folder, "run", "sandbox@" + url("jbang-catalog.json"), "--help").exits(0).out();
        assertTrue(help.contains("Usage:"), help);
        jbang(folder, "catalog", "add", "--name", "org", url("catalog.json")).exits(0);
        String command = jbang(folder, "run", "sandbox@org", "--version").exits(255).out();
        assertTrue(command.contains("'-Dsandbox.command=jbang sandbox@org'"), command);
        run(folder, "run", "sandbox@org", "--version").exits(0);
        String usage = run(folder, "run", "sandbox@org", "--nonsense").exits(2).err();
        assertTrue(usage.contains("Usage: jbang sandbox@org [OPTIONS]"), usage);
        Path limactl = Files.writeString(Files.createDirectory(folder.resolve("bin")).resolve("limactl"),
                "#!/bin/sh\n");
        assertTrue(limactl.toFile().setExecutable(true));
        String hint = run(folder, Map.of("PATH", limactl.getParent() + ":" + System.getenv("PATH")), "run",
                "sandbox@org", "stop", "myapp").exits(2).err();
        assertTrue(hint.contains("jbang sandboxes@org stop myapp"), hint);

        jbang(folder, "app", "install", "sandbox@org").exits(0);
        program(limactl.resolveSibling("jbang"), "line=$('" + java() + "' -jar '" + JBANG + "' \"$@\")\n"
                + "[ $? -eq 255 ] && eval \"exec $line\"");
        String path = apps() + ":" + limactl.getParent() + ":" + System.getenv("PATH");
        String installed = Programs.run(folder, jbangs(path), "", List.of("sh", "-c", "sandbox --nonsense")).exits(2)
                .err();
        assertTrue(installed.contains("Usage: jbang sandbox@org [OPTIONS]"), installed);
    }

    @Test
    void aScriptAloneFindsSandboxOrSaysHowToGetIt() throws IOException {
        Path folder = Files.createTempDirectory(temporary, "alone").toRealPath();
        Path log = folder.resolve("log");
        Path bin = Files.createDirectory(folder.resolve("bin"));
        Path box = Files.createDirectories(folder.resolve("lima/x"));
        Files.createFile(box.resolve("lima.yaml"));
        program(bin.resolve("jbang"), "echo jbang \"$@\" >>" + log);
        program(bin.resolve("limactl"),
                "echo limactl \"$@\" >>" + log + "\necho '{\"name\":\"x\",\"status\":\"Stopped\","
                        + "\"dir\":\"" + box
                        + "\",\"cpus\":1,\"config\":{\"param\":{\"sandbox\":\"v=1 kind=sandbox\"}}}'");
        Map<String, String> environment = Map.of("PATH", bin + ":" + System.getenv("PATH"), "HOME", folder.toString(),
                "LIMA_HOME", folder.resolve("lima").toString(), "JBANG_LAUNCH_CMD", "jbang");
        for (String script : List.of("sandboxes.java", "snapshot.java")) {
            Files.copy(Programs.ROOT.resolve("scripts").resolve(script), folder.resolve(script));
        }
        Programs.run(folder, environment, "", List.of("sh", "-c", "git init -q repo && cd repo && git -c user.name=a"
                + " -c user.email=b commit -q --allow-empty -m first")).exits(0);
        List<String[]> calls = List.of(new String[]{"run", "sandboxes.java", "reset", "x", "--yes"},
                new String[]{"run", "snapshot.java", "try", "x", "repo", "--keep", "--", "true"});
        for (String[] call : calls) {
            String err = run(folder, environment, call).exits(125).err();
            assertTrue(err.contains("sandbox.java") && err.contains("\n  jbang app install sandbox@org"), err);
        }
        assertTrue(Files.readAllLines(log).stream().allMatch(l -> l.startsWith("limactl list ")),
                "nothing was changed");

        Files.writeString(Files.createDirectory(folder.resolve(".jbang")).resolve("jbang-catalog.json"),
                "{\"catalogs\":{\"org\":{\"catalog-ref\":\"https://example.com/catalog.json\"}}}");
        run(folder, environment, "run", "sandboxes.java", "start", "x").exits(0);
        assertTrue(Files.readString(log).contains("jbang sandbox@org --no-keys --mount-none --name x true\n"));
        Files.createFile(folder.resolve("sandbox.java"));
        run(folder, environment, "run", "sandboxes.java", "start", "x").exits(0);
        assertTrue(Files.readString(log)
                .contains("jbang " + folder + "/sandbox.java --no-keys --mount-none --name x true\n"));
    }

    private static void program(Path file, String text) throws IOException {
        assertTrue(Files.writeString(file, "#!/bin/sh\n" + text + "\n").toFile().setExecutable(true));
    }

    @Test
    void aliasesAreListedWithDescriptions() {
        String list = jbang(Programs.ROOT, "alias", "list").exits(0).out();
        for (Path script : Programs.scripts()) {
            String name = script.getFileName().toString().replace(".java", "");
            List<String> lines = list.lines().map(String::strip).toList();
            assertTrue(lines.contains(name), list);
        }
    }

    /** Asks JBang, which for `run` only prints the command line to run. */
    private static Programs.Result jbang(Path folder, String... words) {
        List<String> command = new ArrayList<>(List.of(java(), "-jar", JBANG.toString()));
        command.addAll(List.of(words));
        return Programs.run(folder, jbangs(apps() + ":" + System.getenv("PATH")), "", command);
    }

    /** Where {@code jbang app install} puts commands. It is on the PATH, else JBang would write it into ~/.bashrc. */
    private static Path apps() {
        return temporary.resolve("jbang/bin");
    }

    private static Map<String, String> jbangs(String path) {
        return Map.of(
                "JBANG_DIR", temporary.resolve("jbang").toString(),
                "JBANG_NO_VERSION_CHECK", "true",
                "JBANG_RUNTIME_SHELL", "bash",
                "JBANG_STDIN_NOTTY", "true",
                "NO_COLOR", "1",
                "PATH", path);
    }

    /** What the `jbang` of an installation does: it hands the printed command line to a shell. */
    private static Programs.Result run(Path folder, String... words) {
        return run(folder, Map.of(), words);
    }

    private static Programs.Result run(Path folder, Map<String, String> environment, String... words) {
        Programs.Result printed = jbang(folder, words).exits(255);
        assertEquals(1, printed.out().lines().count(), printed.out());
        return Programs.run(folder, environment, "", List.of("sh", "-c", "exec " + printed.out()));
    }

    private static String java() {
        return Path.of(System.getProperty("java.home"), "bin", "java").toString();
    }
}
