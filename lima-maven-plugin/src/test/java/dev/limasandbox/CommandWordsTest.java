package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CommandWordsTest {
    private static final Set<String> PHASES = Set.of("clean", "test", "verify", "install");

    private static CommandWords.Read read(String line) {
        return CommandWords.read(line, PHASES);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|',
            value = {"test|test", "mvn test|test", "./mvnw  -q test|-q test", "-Pfast verify|-Pfast verify",
                    "dependency:tree -Dx=y|dependency:tree -Dx=y", "clean install -pl :core|clean install -pl :core",
                    "mvn|"})
    void runsOfMaven(String line, String words) {
        assertEquals(new CommandWords.Read(true, words == null ? List.of() : List.of(words.split(" "))), read(line));
    }

    @ParameterizedTest
    @ValueSource(strings = {"/usr/bin/test -f x", "sh -c 'a; b'", "ls | wc -l", "echo $HOME", "http://x:8080/y",
            "./gradlew test", "npm test"})
    void linesForAShell(String line) {
        assertEquals(new CommandWords.Read(false, List.of("sh", "-c", line)), read(line));
    }

    @Test
    void quotesAreThoseOfAShellAndNothingIsExpanded() {
        assertEquals(List.of("test", "-Da=b c", "-Dd=$HOME `id`", "e\"f\\g", "", "h i"),
                read("test -Da='b c' -Dd=\"\\$HOME `id`\" \"e\\\"f\\\\g\" '' h\\ i").words());
        assertEquals(List.of("test", "-Dx=;|&<>"), read("test -Dx=';|&<>'").words());
    }

    @ParameterizedTest
    @ValueSource(strings = {"test; rm x", "test && echo", "test | tee log", "test > log", "test < in"})
    void operatorsInARunOfMavenShowTheWay(String line) {
        String message = assertThrows(IllegalArgumentException.class, () -> read(line)).getMessage();
        assertTrue(message.contains("sh -c '" + line + "'"), message);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "  ", "test 'open"})
    void whatCannotBeReadIsRefused(String line) {
        assertThrows(IllegalArgumentException.class, () -> read(line));
    }
}
