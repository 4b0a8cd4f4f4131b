package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

/** Command lines that are read without picocli mean what picocli would make of them. */
class WordsReadTest {
    @TempDir
    Path folder;

    private Sandbox sandbox(String line) {
        return new Sandbox(Hosts.host(folder, Map.of()), line.isEmpty() ? List.of() : Arrays.asList(line.split(" ")));
    }

    private static List<Object> meaning(Sandbox s) {
        return Arrays.asList(s.nameOption, s.dirOption, s.noKeys, s.words.name, s.words.dir, s.words.command,
                s.words.agentFirst, s.words.reserved);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "app", "app true", "app . true", "app . -- true", "app -- -x",
            "app true --no-keys -- x",
            "--no-keys app true", "app --no-keys true", "--name app true", "--name app -- mvn -v", "--name app . mvn",
            "--no-keys --name app --dir . -- mvn -ntp -v", "--dir . app -- . x", "-- app true", "-- -- app",
            "-- --no-keys", "app -- -- x", "--no-keys -- app -- ls -l", "app claude",
            "claude -p hello", "list --json", "--dir . --name list pwd"})
    void asPicocliReadsThem(String line) {
        Sandbox quick = sandbox(line);
        assertTrue(quick.words.areAllOf(quick), "picocli would be asked");
        Sandbox slow = sandbox(line);
        new CommandLine(slow).setExpandAtFiles(false).parseArgs(line.isEmpty() ? new String[0] : line.split(" "));
        assertEquals(meaning(slow), meaning(quick));
    }

    @ParameterizedTest
    @ValueSource(strings = {"--name", "--name -q", "--name a --name b", "--no-keys --no-keys app", "--name=app true",
            "-q app", "app --env X true", "--help", "--dir", "- app"})
    void allElseIsPicoclis(String line) {
        Sandbox quick = sandbox(line);
        assertFalse(quick.words.areAllOf(quick));
    }

    @Test
    void aWordThatIsWrongIsPicoclisToTell() {
        Sandbox quick = sandbox("app ./no-such-thing");
        assertFalse(quick.words.areAllOf(quick));
    }
}
