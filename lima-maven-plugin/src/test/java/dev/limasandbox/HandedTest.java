package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.File;
import java.util.List;
import java.util.Set;
import org.apache.maven.execution.DefaultMavenExecutionRequest;
import org.apache.maven.execution.MavenExecutionRequest;
import org.junit.jupiter.api.Test;

class HandedTest {
    private static MavenExecutionRequest plain() {
        return new DefaultMavenExecutionRequest().setInteractiveMode(true).setPom(new File("pom.xml"))
                .setLoggingLevel(MavenExecutionRequest.LOGGING_LEVEL_INFO);
    }

    @Test
    void aPlainCallHandsOnNothing() {
        assertEquals(new Handed(List.of(), Set.of()), Handed.of(plain(), true, Set.of(), 0));
    }

    @Test
    void whatWasAskedOfTheOuterMavenHoldsInsideToo() {
        MavenExecutionRequest outer = plain().setInteractiveMode(false).setOffline(true).setUpdateSnapshots(true)
                .setShowErrors(true).setRecursive(false)
                .setReactorFailureBehavior(MavenExecutionRequest.REACTOR_FAIL_NEVER)
                .setLoggingLevel(MavenExecutionRequest.LOGGING_LEVEL_DEBUG).setPom(new File("other.xml"))
                .setSelectedProjects(List.of(":core")).setExcludedProjects(List.of("docs"))
                .setMakeBehavior(MavenExecutionRequest.REACTOR_MAKE_BOTH).setResumeFrom(":web");
        outer.setDegreeOfConcurrency(8);
        outer.addActiveProfile("fast");
        outer.addInactiveProfile("slow");

        assertEquals(
                List.of("-P", "fast,!slow", "-pl", ":core,!docs", "-am", "-amd", "-rf", ":web", "-N", "-o", "-U", "-e",
                        "-X", "-fn", "-B", "-f", "other.xml", "-T", "2"),
                Handed.of(outer, true, Set.of(), 2).options());
        assertEquals(
                List.of("-P", "fast,!slow", "-N", "-o", "-U", "-e", "-X", "-fn", "-B", "-f", "other.xml", "-T", "8"),
                Handed.of(outer, false, Set.of(), 0).options());
    }

    @Test
    void ofTheUsersPropertiesThoseThatAreNamed() {
        MavenExecutionRequest outer = plain();
        for (String name : List.of("cmd", "maven.repo.local", "lima.forward", "session.topDirectory", "style.color",
                "a",
                "b")) {
            outer.getUserProperties().setProperty(name, "v");
        }

        assertEquals(new Handed(List.of("-Dstyle.color=v", "-Da=v"), Set.of("b")),
                Handed.of(outer, true, Set.of("a"), 0));
    }
}
