package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What Lima's effective configuration opens beyond the instance's own file. */
class AuditTest {
    private static final String OWN = """
            mounts:
            - {location: /p/app, writable: true}
            - {location: /p/lib}
            portForwards:
            - {guestPort: 8080, hostPort: 18080, hostIP: 127.0.0.1}
            - {guestSocket: /run/user/1000/docker.sock, hostSocket: "{{.Dir}}/sock/docker.sock"}
            - {guestIP: 0.0.0.0, guestIPMustBeZero: false, proto: any, ignore: true}
            ssh: {forwardAgent: false}
            """;

    private static List<String> extras(String effective) {
        return Sandbox.Audit.extras(yaml(effective), yaml(OWN), Path.of("/lima/app"));
    }

    private static JsonNode yaml(String text) {
        try {
            return new YAMLMapper().readTree(text);
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(e);
        }
    }

    private static void names(String effective, String... parts) {
        List<String> extras = extras(effective);
        assertEquals(1, extras.size(), extras.toString());
        for (String part : parts) {
            assertTrue(extras.get(0).contains(part), extras.toString());
        }
    }

    @Test
    void whatWasAskedIsNothingMore() {
        assertEquals(List.of(), extras(OWN.replace("{{.Dir}}", "/lima/app")));
    }

    @Test
    void lessIsNothingMore() {
        assertEquals(List.of(), extras("mounts: []"));
        assertEquals(List.of(), extras("{}"));
    }

    @Test
    void aMountMore() {
        names(OWN.replace("{{.Dir}}", "/lima/app").replace("- {location: /p/lib}",
                "- {location: /p/lib}\n- {location: /home/me}"), "/home/me");
    }

    @Test
    void aMountThatBecameWritable() {
        names("mounts: [{location: /p/lib, writable: true}]", "/p/lib", "writ");
    }

    @Test
    void aMountThatBecameReadOnlyIsFine() {
        assertEquals(List.of(), extras("mounts: [{location: /p/app, writable: false}]"));
    }

    @Test
    void aForwardMore() {
        names("portForwards: [{guestPort: 5432, hostPort: 5432}]", "5432");
    }

    @Test
    void aForwardToAnotherHostPort() {
        names("portForwards: [{guestPort: 8080, hostPort: 80}]", "8080");
    }

    @Test
    void aForwardThatBecameOpenToTheNetwork() {
        names("portForwards: [{guestPort: 8080, hostPort: 18080, hostIP: 0.0.0.0}]", "8080");
    }

    @Test
    void aForwardOfARange() {
        names("portForwards: [{guestPortRange: [1, 65535], hostPortRange: [1, 65535]}]", "forward");
    }

    @Test
    void aReverseForward() {
        names("portForwards: [{guestPort: 8080, hostPort: 18080, reverse: true}]", "8080");
    }

    @Test
    void aSocketOfTheHostElsewhere() {
        names("portForwards: [{guestSocket: /x, hostSocket: /home/me/docker.sock}]", "/home/me/docker.sock");
        names("portForwards: [{guestSocket: /x, hostSocket: /lima/app/../../home/me/s}]", "to /home/me/s");
    }

    @Test
    void flagsOfSsh() {
        names("ssh: {forwardAgent: true}", "forwardAgent");
        names("ssh: {loadDotSSHPubKeys: true}", "loadDotSSHPubKeys");
        names("ssh: {forwardX11: true}", "forwardX11");
    }
}
