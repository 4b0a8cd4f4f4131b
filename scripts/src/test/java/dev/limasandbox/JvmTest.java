package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
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

    @Test
    void settingsForAGuestHoldNoSecret() {
        file("settings.xml", """
                <settings xmlns="http://maven.apache.org/SETTINGS/1.0.0">
                  <servers><server><id>corp</id><username>u</username><password>S1</password></server></servers>
                  <mirrors>
                    <mirror><id>corp</id><mirrorOf>central</mirrorOf><url>https://repo.corp.example/S7?a</url></mirror>
                    <mirror><id>own</id><mirrorOf>*</mirrorOf><url>http://localhost:8081/all</url></mirror>
                    <mirror><id>user</id><mirrorOf>x</mirrorOf><url>https://u:S2@repo.corp.example/</url></mirror>
                    <mirror><id>token</id><mirrorOf>x</mirrorOf><url>https://repo.example/${env.S3}</url></mirror>
                  </mirrors>
                  <proxies><proxy><id>p</id><active>true</active><protocol>https</protocol><host>proxy.corp.example</host>
                    <port>3128</port><username>u</username><password>S4</password></proxy></proxies>
                  <profiles>
                    <profile><id>a</id><properties><key>S5</key></properties>
                      <repositories><repository><id>ra</id><url>https://a.corp.example/</url>
                        <snapshots><enabled>false</enabled></snapshots></repository></repositories></profile>
                    <profile><id>b</id><repositories><repository><id>rb</id><url>https://b.corp.example/</url></repository>
                      </repositories></profile>
                    <profile><id>c</id><activation><activeByDefault>true</activeByDefault></activation>
                      <pluginRepositories><pluginRepository><id>rc</id><url>file:///S6</url></pluginRepository>
                      </pluginRepositories></profile>
                  </profiles>
                  <activeProfiles><activeProfile>a</activeProfile></activeProfiles>
                </settings>
                """);
        List<String> left = new ArrayList<>();
        String settings = new Jvm.Settings(List.of(project.resolve("settings.xml"), project.resolve("none.xml")),
                List.of(), left::add)
                .forGuest(Jvm.Proxy.of(List.of("http_proxy=http://other:1")), Path.of("/h/repository"));
        assertFalse(settings.matches("(?s).*S[1-9].*"), settings);
        assertEquals(5, left.size(), left.toString());
        for (String there : List.of("<url>http://host.lima.internal:8081/all</url>", "<host>proxy.corp.example</host>",
                "<url>https://a.corp.example/</url>", "<enabled>false</enabled>", "<activeProfile>a</activeProfile>",
                "<maven.repo.local.tail>/h/repository</maven.repo.local.tail>", "Written by sandbox")) {
            assertTrue(settings.contains(there), there + " in " + settings);
        }
        assertFalse(settings.contains("b.corp.example"), "of a profile that is not active");
        assertFalse(settings.contains("other"), "the environment's proxy, where the settings have one");
        assertTrue(new Jvm.Settings(List.of(project.resolve("settings.xml")), List.of("b"), left::add)
                .forGuest(List.of(), null).contains("b.corp.example"));
        assertEquals("", new Jvm.Settings(List.of(), List.of(), left::add).forGuest(List.of(), null));
    }

    @Test
    void aProxyIsToldInEachProgramsWords() {
        List<Jvm.Proxy> proxies = Jvm.Proxy
                .of(List.of("HTTP_PROXY=http://old:1", "http_proxy=\"http://u:p%40@proxy:3128/\"",
                        "no_proxy=localhost,.corp.example,10.0.0.0/8", "LANG=C"));
        assertEquals(List.of("http.proxyHost=proxy", "http.proxyPort=3128",
                "http.nonProxyHosts=localhost|127.*|[::1]|*.corp.example"), proxies.get(0).javaProperties(""));
        assertEquals("systemProp.http.proxyPassword=p@", proxies.get(0).javaProperties("systemProp.").get(4));
        assertTrue(new Jvm.Settings(List.of(), List.of(), s -> {}).forGuest(proxies, null)
                .contains("<password>p@</password>"));
        assertEquals(List.of(), Jvm.Proxy.of(List.of("https_proxy=", "no_proxy=*")));
    }

    @Test
    void toolchainsAreWantedBesides() {
        file("pom.xml", """
                <profile><activation><jdk>22</jdk></activation></profile><version>30</version>
                <toolchains><jdk><vendor>x</vendor><version>[11,12)</version></jdk></toolchains>
                <jdkToolchain><version>17</version></jdkToolchain>""");
        file("lib/build.gradle", "java { toolchain { languageVersion = JavaLanguageVersion.of(25) } }");
        assertEquals(Set.of(11, 17, 25), Jvm.Wanted.toolchains(project));
    }

    @ParameterizedTest
    @CsvSource({"3.8.8, , 125", "3.9.16, , 2", "4.0.0-rc-6, , 2", "3.9.16, 3.8.1, 125", "3.8.8, 3.10.0, 2"})
    void aMavenThatCannotReadAnotherRepositoryIsRefused(String outer, String wrapped, int code) throws IOException {
        file("pom.xml", "<project/>");
        if (wrapped != null) {
            file("mvnw", "");
            assertTrue(project.resolve("mvnw").toFile().setExecutable(true));
            file(".mvn/wrapper/maven-wrapper.properties",
                    "distributionUrl=https\\://x/apache-maven-" + wrapped + "-bin.zip");
        }
        StringWriter said = new StringWriter();
        Files.createDirectories(project.resolve("bin"));
        file("bin/limactl", "#!/bin/sh\n"); // there is no sandbox, which is found out after the version
        assertTrue(project.resolve("bin/limactl").toFile().setExecutable(true));
        Jvm.Caller caller = new Jvm.Caller("jvm", "jvm",
                Map.of("PATH", project.resolve("bin") + ":/usr/bin:/bin", "HOME",
                        project.toString()),
                project, new PrintWriter(said), new PrintWriter(said));
        assertEquals(code, caller.run(new Jvm(caller), "none", "--maven", outer, "--tail", project.toString()),
                said.toString());
        assertTrue(said.toString().contains(code == 125 ? "3.9 or newer" : "there is no sandbox none"),
                said.toString());
    }
}
