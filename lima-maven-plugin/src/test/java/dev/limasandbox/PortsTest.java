package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PortsTest {
    @ParameterizedTest
    @ValueSource(strings = {"quarkus:dev", "spring-boot:run", "spring-boot:test-run",
            "io.quarkus:quarkus-maven-plugin:3.30.0:dev", "io.quarkus.platform:quarkus-maven-plugin:dev",
            "org.springframework.boot:spring-boot-maven-plugin:run"})
    void aServerIsReached(String goal) {
        assertEquals(List.of("8080"), Ports.of(List.of("-q", goal), null, null));
        assertEquals(List.of("9090:8080", "9000"), Ports.of(List.of(goal), "9090:8080, 9000", null));
        assertEquals(List.of(), Ports.of(List.of(goal), "", null));
    }

    @ParameterizedTest
    @ValueSource(strings = {"quarkus:build", "spring-boot:repackage", "test", "-Dx=quarkus:development"})
    void allElseIsNot(String goal) {
        assertEquals(List.of(), Ports.of(List.of(goal), null, null));
    }

    @Test
    void aDebuggerIsLetIn() {
        assertEquals(List.of("5005:5005"), Ports.of(List.of("test"), null, "true"));
        assertEquals(List.of("8080", "15005:5005"), Ports.of(List.of("quarkus:dev"), null, "15005"));
        assertEquals(List.of(), Ports.of(List.of("test"), null, "false"));
        assertEquals(List.of("-Dmaven.surefire.debug", "-Dmaven.failsafe.debug"), Ports.options("true"));
        assertEquals(List.of(), Ports.options(null));
    }
}
