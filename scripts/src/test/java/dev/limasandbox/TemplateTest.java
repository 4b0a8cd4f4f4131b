package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What is set in the template for one instance, and the words that pass through shells. */
class TemplateTest {
    private static Sandbox.Wish wish(List<Sandbox.Mount> mounts, Map<String, String> links, Map<String, String> git) {
        return new Sandbox.Wish("x", mounts, links, new Sandbox.Origin(null, null, List.of()),
                new Sandbox.Resources(1, 1, 10), List.of(), git);
    }

    // --- ports ---

    @ParameterizedTest
    @CsvSource({"3000, 3000, 3000", "8080:80, 8080, 80", "65535:1, 65535, 1"})
    void aPublishedPortIsOnLoopback(String option, int host, int guest) {
        Map<String, Object> forward = Sandbox.Template.publish(option);
        assertEquals("127.0.0.1", forward.get("hostIP"));
        assertEquals(host, forward.get("hostPort"));
        assertEquals(guest, forward.get("guestPort"));
        assertEquals("tcp", forward.get("proto"));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"", "0", "65536", "80:0", "0:80", "a", "1:2:3", "127.0.0.1:80:80", "80:", ":80", "-1", "1 2"})
    void whatIsNoPortIsAUsageError(String option) {
        Sandbox.Lima.Failure failure = assertThrows(Sandbox.Lima.Failure.class, () -> Sandbox.Template.publish(option));
        assertEquals(2, failure.code);
        assertTrue(failure.getMessage().contains("'" + option + "'"), failure.getMessage());
    }

    // --- the script of ours ---

    @Test
    void theScriptIsMarkedAndASyntaxForSh() throws Exception {
        String script = Sandbox.Template.script(wish(
                List.of(new Sandbox.Mount(Path.of("/p/it's, \"odd\" #1"), true),
                        new Sandbox.Mount(Path.of("/p/plain"), false)),
                Map.of("/typed/li'nk", "/p/plain"), Map.of("user.name", "O'Neill `id` $(id)")));
        assertTrue(script.startsWith("#!/bin/sh\n"));
        assertTrue(script.contains("PARAM_sandbox"));
        assertEquals("", sh("-n", "-c", script));
    }

    @Test
    void onlyOddPathsAreBound() {
        String script = Sandbox.Template.script(wish(
                List.of(new Sandbox.Mount(Path.of("/p/plain"), true), new Sandbox.Mount(Path.of("/p/o dd"), true)),
                Map.of(), Map.of()));
        assertTrue(script.contains("mount --bind") && script.contains("'/p/o dd'"), script);
        assertFalse(script.contains("mount --bind /mnt/sandbox/" + new Sandbox.Mount(Path.of("/p/plain"), true).key()),
                script);
    }

    @Test
    void bracesOfGoTemplatesAreTaken() {
        String script = Sandbox.Template
                .script(wish(List.of(new Sandbox.Mount(Path.of("/p/{{.Name}}"), true)), Map.of(), Map.of()));
        assertFalse(script.replace("{{\"{{\"}}", "").contains("{{"), script);
    }

    @ParameterizedTest
    @CsvSource({
            "/p/plain-1_2.3+4@5, false", "/p/a b, true", "'/p/a,b', true", "/p/it's, true", "/p/a:b, true",
            "/p/ü, true", "/p/[, true",
            "/p/{, true", "/p/#, true", "/p/~, true", "/p/%, true", "/p/=, true"
    })
    void whatIsOddIsKnown(String path, boolean odd) {
        assertEquals(odd, new Sandbox.Mount(Path.of(path), true).odd());
    }

    @Test
    void aLastColonWIsTheOnlyOne() throws IOException {
        Path dir = java.nio.file.Files.createTempDirectory("a").toRealPath();
        Sandbox.Host host = Hosts.host(dir, Map.of());
        assertEquals(new Sandbox.Mount(dir, true), Sandbox.Mount.parse(dir + ":w", host));
        assertEquals(new Sandbox.Mount(dir, false), Sandbox.Mount.parse(dir.toString(), host));
        Path colon = java.nio.file.Files.createDirectory(dir.resolve("x:w"));
        assertEquals(new Sandbox.Mount(colon, true), Sandbox.Mount.parse(colon + ":w", host));
    }

    // --- words ---

    @ParameterizedTest
    @ValueSource(strings = {"", "plain", "it's", "'", "''", "\"$HOME`id`\\", "a\nb", "-n", "ü €", "*", "\t ", "!x"})
    void aQuotedWordArrivesInAShell(String word) throws Exception {
        assertEquals(word, sh("-c", "printf %s " + Sandbox.Lima.quote(word)));
    }

    @Test
    void theReasonIsTheLastErrorOfLimasLog() {
        String log = """
                time="2026-01-01T00:00:00Z" level=info msg="Starting"
                time="2026-01-01T00:00:01Z" level=error msg="first"
                time="2026-01-01T00:00:02Z" level=fatal msg="no \\"disk\\" here\\nat all"
                """;
        assertEquals("no \"disk\" here at all", Sandbox.Lima.reason(log));
    }

    @Test
    void withoutALogTheReasonIsTheLastLine() {
        assertEquals("second", Sandbox.Lima.reason("first\nsecond\n"));
        assertFalse(Sandbox.Lima.reason("").isEmpty());
    }

    private static String sh(String... arguments) throws IOException, InterruptedException {
        List<String> command = new java.util.ArrayList<>(List.of("sh"));
        command.addAll(List.of(arguments));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().put("LC_ALL", "C.UTF-8");
        Process process = builder.start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertTrue(process.waitFor(20, TimeUnit.SECONDS));
        assertEquals(0, process.exitValue(), out);
        return out;
    }
}
