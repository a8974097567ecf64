"""The REST API: reading is open, writing is for authenticated users."""

from __future__ import annotations

from collections import Counter

from django.db.models import Model, ProtectedError
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import DefaultRouter
from rest_framework.viewsets import ModelViewSet

from core.models import Direction, Service, SousDirection


class DirectionSerializer(serializers.ModelSerializer):
    class Meta:
        model = Direction
        fields = ["id", "nom", "sigle"]


class SousDirectionSerializer(serializers.ModelSerializer):
    class Meta:
        model = SousDirection
        fields = ["id", "nom", "direction"]


class ServiceSerializer(serializers.ModelSerializer):
    """The column of `sous_direction` may be empty, for services not moved yet; what is written may not."""

    sous_direction = serializers.PrimaryKeyRelatedField(queryset=SousDirection.objects.all())
    direction = serializers.PrimaryKeyRelatedField(
        source="direction_de_rattachement",
        read_only=True,
        help_text="Obsolète, en lecture seule : utilisez la direction de « sous_direction ».",
    )

    class Meta:
        model = Service
        fields = [
            "id",
            "nom",
            "sigle",
            "description",
            "email",
            "telephone",
            "actif",
            "effectif",
            "sous_direction",
            "direction",
            "cree_le",
            "modifie_le",
        ]
        read_only_fields = ["cree_le", "modifie_le"]


class ProtectedDestroyMixin:
    """Refuse with 409, and say why, to delete what others depend on."""

    def destroy(self, request: Request, *args: object, **kwargs: object) -> Response:
        try:
            return super().destroy(request, *args, **kwargs)
        except ProtectedError as error:
            detail = refusal(self.get_object(), error.protected_objects)
            return Response({"detail": detail}, status=status.HTTP_409_CONFLICT)


def refusal(kept: Model, dependents: set[Model]) -> str:
    """Return the sentence that names what keeps `kept` from being deleted."""
    counts = Counter(type(dependent) for dependent in dependents)
    what = ", ".join(f"{count} {_noun(model, count)}" for model, count in counts.items())
    return f"Impossible de supprimer « {kept} » ({kept._meta.verbose_name}) : en dépendent {what}."


def _noun(model: type[Model], count: int) -> str:
    return str(model._meta.verbose_name if count == 1 else model._meta.verbose_name_plural)


class DirectionViewSet(ProtectedDestroyMixin, ModelViewSet):
    queryset = Direction.objects.all()
    serializer_class = DirectionSerializer


class SousDirectionViewSet(ProtectedDestroyMixin, ModelViewSet):
    queryset = SousDirection.objects.all()
    serializer_class = SousDirectionSerializer


class ServiceViewSet(ModelViewSet):
    queryset = Service.objects.select_related("sous_direction__direction", "direction").order_by("nom", "pk")
    serializer_class = ServiceSerializer


router = DefaultRouter()
router.register("directions", DirectionViewSet)
router.register("sous-directions", SousDirectionViewSet)
router.register("services", ServiceViewSet)
