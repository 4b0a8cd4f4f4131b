package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is said of Lima's image downloads, from the files of its cache. */
class DownloadsTest {
    private static final String CHECKED = "https://images.test/checked.img";
    private static final String UNCHECKED = "https://images.test/unchecked.img";

    @TempDir
    private Path home;

    private final StringWriter said = new StringWriter();

    private Sandbox.Host host() {
        return new Sandbox.Host(Map.of("HOME", home.toString(), "XDG_CACHE_HOME", home + "/.cache"), home,
                new PrintWriter(said), new PrintWriter(said), new ByteArrayInputStream(new byte[0]), "sandbox", 0);
    }

    private Path cached(String url, String name) throws IOException {
        Path caches = home.resolve(Sandbox.Host.mac() ? "Library/Caches" : ".cache");
        return Files.createDirectories(caches.resolve("lima/download/by-url-sha256").resolve(Sandbox.Lima.hash(url)))
                .resolve(name);
    }

    private static Sandbox.Instance instance() throws IOException {
        JsonNode node = new ObjectMapper().readTree("""
                {"name": "x", "status": "Stopped", "dir": "/x", "config": {"arch": "x86_64", "images": [
                  {"location": "https://images.test/arm.img", "arch": "aarch64"},
                  {"location": "%s", "arch": "x86_64", "digest": "sha256:0123"},
                  {"location": "%s", "arch": "x86_64"}]}}
                """.formatted(CHECKED, UNCHECKED));
        return Sandbox.Instance.of(node);
    }

    @Test
    void anImageWithoutADigestIsNamed() throws IOException {
        Files.writeString(cached(UNCHECKED, "data"), "image");
        Optional<String> sentence = Sandbox.Downloads.undigested(host(), List.of(instance()), "x");
        assertTrue(sentence.orElse("").contains(UNCHECKED), sentence.toString());
    }

    @Test
    void anImageWithADigestIsNot() throws IOException {
        Files.writeString(cached(CHECKED, "data"), "image");
        Files.writeString(cached(UNCHECKED, "data"), "image of another time");
        assertEquals(Optional.empty(), Sandbox.Downloads.undigested(host(), List.of(instance()), "x"));
    }

    @Test
    void theGrowingFileIsShown() throws Exception {
        Path part = cached(CHECKED, "data.tmp.12.1");
        Thread watcher = Sandbox.Downloads.watch(host(), new Sandbox.Talk(host(), false, false));
        try (var file = new java.io.RandomAccessFile(part.toFile(), "rw")) {
            for (int mb = 25; mb <= 400 && !said.toString().contains("downloading the image"); mb += 25) {
                file.setLength(mb * 1_000_000L);
                Thread.sleep(500);
            }
        }
        watcher.interrupt();
        watcher.join(5000);
        assertTrue(said.toString().matches("(?s).*downloading the image: [0-9]+ MB.*"), said.toString());
    }
}
