package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Which JDK a project wants, by what lies in it. */
class JvmTest {
    @TempDir
    Path project;

    private void file(String name, String text) {
        try {
            Path file = project.resolve(name);
            Files.createDirectories(file.getParent());
            Files.writeString(file, text);
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    private int wanted() {
        return Jvm.Wanted.of(project, null, null).version();
    }

    @ParameterizedTest
    @CsvSource({".sdkmanrc, 'java=21.0.4-tem', 21", ".java-version, temurin-17, 17", ".java-version, 1.8, 8",
            ".java-version, '11.0.2\n', 11", ".tool-versions, 'nodejs 22\njava temurin-25.0.1+8', 25",
            "pom.xml, '<requireJavaVersion><message>x</message><version>[18,)</version></requireJavaVersion>', 21",
            "gradle/gradle-daemon-jvm.properties, 'toolchainVersion=17', 17",
            "pom.xml, '<maven.compiler.release>17</maven.compiler.release>', 17",
            "pom.xml, '<release>22</release>', 25",
            "pom.xml, '<source>1.8</source><target>1.8</target>', 8", "pom.xml, '<java.version>11</java.version>', 11",
            "core/pom.xml, '<release>25</release>', 25", "build.gradle.kts, 'JavaLanguageVersion.of(21)', 21",
            "build.gradle, 'sourceCompatibility = JavaVersion.VERSION_1_8', 8",
            "app/build.gradle, \"sourceCompatibility = '17'\", 17", "README, nothing, 21"})
    void isReadFromItsFiles(String name, String text, int version) {
        file(name, text.replace("\\n", "\n"));
        assertEquals(version, wanted());
    }

    @Test
    void theFirstWordCounts() {
        file("pom.xml", "<release>17</release>");
        file("core/pom.xml", "<properties><maven.compiler.release>11</maven.compiler.release></properties>");
        assertEquals(new Jvm.Wanted(17, "17 in pom.xml"), Jvm.Wanted.of(project, null, null));
        assertEquals(21, Jvm.Wanted.of(project, null, 21).version());
        file(".java-version", "25");
        assertEquals(new Jvm.Wanted(25, ".java-version"), Jvm.Wanted.of(project, null, 21));
        assertEquals(11, Jvm.Wanted.of(project, 11, 21).version());
    }

    @Test
    void aHostileTreeIsOnlyText() throws IOException {
        Files.createSymbolicLink(project.resolve(".java-version"), Path.of("/etc/hostname"));
        file("pom.xml",
                "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><release>&e;</release><release>999999999999"
                        + "</release>" + "<".repeat(100_000));
        file("node_modules/a/pom.xml", "<release>25</release>");
        file("sub/pom.xml", "<release>17</release>" + " ".repeat(1_000_001));
        assertEquals(21, wanted());
    }

    @ParameterizedTest
    @CsvSource({"1.8, 8", "1_8, 8", "21, 21", "21.0.4, 21", "17.0.2.1, 17", "5, ", "x, ", "1, "})
    void versionsAreSpelledManyWays(String text, Integer number) {
        assertEquals(Optional.ofNullable(number), Jvm.Wanted.number(text));
    }
}
